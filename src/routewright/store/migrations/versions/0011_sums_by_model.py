"""sums by hour and model alone, for the first page, with those of the last 31 days."""

import time

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

SUMS = (
    "cost_nusd", "baseline_nusd", "prompt_tokens", "completion_tokens", "cached_tokens", "cache_creation_tokens",
    "requests", "failed_requests", "unpriced_requests",
)  # fmt: skip
DAY_MS = 86_400_000


def upgrade() -> None:
    op.create_table(
        "spend_models",
        sa.Column("hour_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        *[sa.Column(name, sa.BigInteger(), nullable=False) for name in SUMS],
        sa.PrimaryKeyConstraint("hour_at_ms", "model", name=op.f("pk_spend_models")),
    )
    # What a replica of an older version adds while it still runs stands in the other sums alone.
    since_ms = (int(time.time() * 1000) // DAY_MS - 31) * DAY_MS
    sums = ", ".join(f"sum({name})" for name in SUMS)
    op.execute(
        sa.text(
            f"INSERT INTO spend_models (hour_at_ms, model, {', '.join(SUMS)}) "  # noqa: S608 - names of ours
            f"SELECT hour_at_ms, model, {sums} FROM spend_hours WHERE hour_at_ms >= :since GROUP BY hour_at_ms, model"
        ).bindparams(since=since_ms)
    )


def downgrade() -> None:
    op.drop_table("spend_models")
