"""The installation's id, which ledger and storage compare."""

from alembic import op

revision = "b7d40e9a15c3"
down_revision = "8d2f61c07b9e"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table. Its one row is written by the first process that needs it:
    a row made here would be the same in all copies of a migrated database."""
    dialect = op.get_context().dialect.name
    timestamp = {"postgresql": "TIMESTAMP WITH TIME ZONE", "sqlite": "TEXT"}[dialect]
    op.execute(
        "CREATE TABLE installation"
        " (only_row INTEGER NOT NULL PRIMARY KEY, id VARCHAR(36) NOT NULL,"
        f" confirmed {timestamp}, CONSTRAINT only_one CHECK (only_row = 1))"
    )


def downgrade() -> None:
    """Forget the id. Storage keeps it, and gives it back after the next upgrade."""
    op.execute("DROP TABLE installation")
