"""owned objects: whose a file, a batch or its like at a provider is."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "owned",
        sa.Column("object_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("deployment_id", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("key_hash", sa.String(), nullable=False),
        *[
            sa.Column(name, sa.String(), nullable=True)
            for name in ("key_alias", "user_id", "team_id", "organization_id", "customer_id")
        ],
        sa.Column("tags", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("purpose", sa.String(), nullable=True),
        sa.Column("about", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("body", sa.String(), nullable=False),
        sa.Column("is_open", sa.Boolean(), nullable=False),
        sa.Column("held_nusd", sa.BigInteger(), nullable=False),
        sa.Column("claimed_until_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("object_id", name=op.f("pk_owned")),
    )
    for columns in (["owner", "kind", "created_at_ms"], ["kind", "created_at_ms"], ["is_open"], ["expires_at_ms"]):
        op.create_index(op.f("ix_owned_" + "_".join(columns)), "owned", columns, unique=False)


def downgrade() -> None:
    op.drop_table("owned")
