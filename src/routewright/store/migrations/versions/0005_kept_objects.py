"""kept objects: responses that their callers asked to have kept, and whose they are."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "kept",
        sa.Column("object_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("previous_id", sa.String(), nullable=True),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("object_id", name=op.f("pk_kept")),
    )
    op.create_index(op.f("ix_kept_expires_at_ms"), "kept", ["expires_at_ms"], unique=False)
    op.create_index(op.f("ix_kept_created_at_ms"), "kept", ["created_at_ms"], unique=False)


def downgrade() -> None:
    op.drop_table("kept")
