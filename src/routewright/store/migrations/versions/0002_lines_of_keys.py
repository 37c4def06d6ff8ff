"""lines of keys: a key that replaces another has its past; and which versions may work on these tables."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A version that does not know the column leaves it NULL, which says what it meant.
    op.add_column("keys", sa.Column("lineage_hash", sa.String(64), nullable=True))
    op.create_index(op.f("ix_keys_lineage_hash"), "keys", ["lineage_hash"], unique=False)
    op.create_table(
        "former_keys",
        sa.Column("key_hash", sa.String(64), nullable=False),
        sa.Column("lineage_hash", sa.String(64), nullable=False),
        sa.Column("replaced_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key_hash", name=op.f("pk_former_keys")),
    )
    op.create_index(op.f("ix_former_keys_lineage_hash"), "former_keys", ["lineage_hash"], unique=False)
    floor = op.create_table(
        "schema_floor",
        sa.Column("oldest", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("oldest", name=op.f("pk_schema_floor")),
    )
    op.bulk_insert(floor, [{"oldest": "0002"}])


def downgrade() -> None:
    op.drop_table("schema_floor")
    op.drop_index(op.f("ix_former_keys_lineage_hash"), table_name="former_keys")
    op.drop_table("former_keys")
    op.drop_index(op.f("ix_keys_lineage_hash"), table_name="keys")
    op.drop_column("keys", "lineage_hash")
