"""indexes of the ledger's owners without the rows that have none, which every row had to pay for."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_OWNERS = ("team_id", "user_id", "customer_id")


def upgrade() -> None:
    for owner in _OWNERS:
        known = sa.text(f"{owner} IS NOT NULL")
        op.drop_index(op.f(f"ix_spend_{owner}_ended_at_ms"), table_name="spend")
        op.create_index(
            op.f(f"ix_spend_{owner}_ended_at_ms"),
            "spend",
            [owner, "ended_at_ms"],
            unique=False,
            sqlite_where=known,
            postgresql_where=known,
        )


def downgrade() -> None:
    for owner in _OWNERS:
        op.drop_index(op.f(f"ix_spend_{owner}_ended_at_ms"), table_name="spend")
        op.create_index(op.f(f"ix_spend_{owner}_ended_at_ms"), "spend", [owner, "ended_at_ms"], unique=False)
