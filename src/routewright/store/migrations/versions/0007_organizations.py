"""organizations above teams and keys, who is in them, and what was spent for them."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

HOUR_MS = 3_600_000


def _limits() -> list[sa.Column[Any]]:
    return [
        sa.Column("rpm_limit", sa.BigInteger(), nullable=True),
        sa.Column("tpm_limit", sa.BigInteger(), nullable=True),
        sa.Column("max_parallel_requests", sa.BigInteger(), nullable=True),
        sa.Column("model_rpm_limit", sa.JSON(), nullable=True),
        sa.Column("model_tpm_limit", sa.JSON(), nullable=True),
        sa.Column("model_max_budget", sa.JSON(), nullable=True),
    ]


def _budget() -> list[sa.Column[Any]]:
    return [
        sa.Column("max_budget_nusd", sa.BigInteger(), nullable=True),
        sa.Column("soft_budget_nusd", sa.BigInteger(), nullable=True),
        sa.Column("budget_duration", sa.String(), nullable=True),
        sa.Column("budget_started_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("budget_id", sa.String(), nullable=True),
        sa.Column("spend_before_nusd", sa.BigInteger(), server_default="0", nullable=False),
    ]


def _history() -> list[sa.Column[Any]]:
    return [
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=True),
        sa.Column("updated_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_by", sa.String(), nullable=True),
    ]


def upgrade() -> None:
    op.create_table(
        "organizations",
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("organization_alias", sa.String(), nullable=False),
        sa.Column("blocked", sa.Boolean(), nullable=False),
        sa.Column("models", sa.JSON(), nullable=True),
        *_limits(),
        *_budget(),
        sa.Column("metadata", sa.JSON(), nullable=True),
        sa.Column("extra", sa.JSON(), nullable=True),
        *_history(),
        sa.PrimaryKeyConstraint("organization_id", name=op.f("pk_organizations")),
    )
    op.create_index(op.f("ix_organizations_budget_id"), "organizations", ["budget_id"], unique=False)
    op.create_table(
        "organization_members",
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("user_role", sa.String(), nullable=False),
        *_budget(),
        *_history(),
        sa.PrimaryKeyConstraint("organization_id", "user_id", name=op.f("pk_organization_members")),
    )
    op.create_index(op.f("ix_organization_members_user_id"), "organization_members", ["user_id"], unique=False)
    op.create_table(
        "spend_organizations",
        sa.Column("hour_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("key_hash", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("team_id", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("cost_nusd", sa.BigInteger(), nullable=False),
        sa.Column("baseline_nusd", sa.BigInteger(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cached_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cache_creation_tokens", sa.BigInteger(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("failed_requests", sa.BigInteger(), nullable=False),
        sa.Column("unpriced_requests", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "hour_at_ms", "organization_id", "key_hash", "user_id", "team_id", "model", "provider",
            name=op.f("pk_spend_organizations"),
        ),
    )  # fmt: skip
    op.create_index(
        op.f("ix_spend_organizations_organization_id_hour_at_ms"),
        "spend_organizations",
        ["organization_id", "hour_at_ms"],
        unique=False,
    )
    is_ours = sa.text("organization_id IS NOT NULL")
    op.create_index(
        op.f("ix_spend_organization_id_ended_at_ms"), "spend", ["organization_id", "ended_at_ms"], unique=False,
        sqlite_where=is_ours, postgresql_where=is_ours,
    )  # fmt: skip
    # Keys could name an organization before there were any. Of calls that answer a request together each counts as
    # one here; what they cost is right.
    op.execute(f"""
        INSERT INTO spend_organizations
        SELECT ended_at_ms / {HOUR_MS} * {HOUR_MS}, organization_id, key_hash, coalesce(user_id, ''),
               coalesce(team_id, ''), coalesce(model, ''), coalesce(provider, ''), sum(cost_nusd), sum(baseline_nusd),
               sum(prompt_tokens), sum(completion_tokens), sum(cached_tokens), sum(cache_creation_tokens), count(*),
               sum(CASE WHEN ended IN ('refused', 'upstream_failed') THEN 1 ELSE 0 END),
               sum(CASE WHEN NOT is_priced AND ended <> 'refused' THEN 1 ELSE 0 END)
        FROM spend WHERE organization_id IS NOT NULL GROUP BY 1, 2, 3, 4, 5, 6, 7
    """)  # noqa: S608 - a number of ours


def downgrade() -> None:
    op.drop_index(op.f("ix_spend_organization_id_ended_at_ms"), table_name="spend")
    op.drop_table("spend_organizations")
    op.drop_table("organization_members")
    op.drop_table("organizations")
