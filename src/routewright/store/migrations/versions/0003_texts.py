"""texts: what was asked and answered, of calls for which that is wanted."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "spend_texts",
        sa.Column("call_id", sa.String(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("ended_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("request", sa.String(), nullable=False),
        sa.Column("response", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("call_id", "attempt", name=op.f("pk_spend_texts")),
    )
    op.create_index(op.f("ix_spend_texts_ended_at_ms"), "spend_texts", ["ended_at_ms"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_spend_texts_ended_at_ms"), table_name="spend_texts")
    op.drop_table("spend_texts")
