"""Which prefix holds the files of a restic repository."""

from alembic import op

revision = "3b9d5a7e41f0"
down_revision = "b7d40e9a15c3"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    dialect = op.get_context().dialect.name
    timestamp = {"postgresql": "TIMESTAMP WITH TIME ZONE", "sqlite": "TEXT"}[dialect]
    op.execute(
        "CREATE TABLE repositories"
        " (user_id INTEGER NOT NULL, name VARCHAR(64) NOT NULL,"
        f" prefix VARCHAR(36) NOT NULL, created {timestamp} NOT NULL,"
        " PRIMARY KEY (user_id, name))"
    )
    op.execute("CREATE UNIQUE INDEX repositories_by_prefix ON repositories (prefix)")


def downgrade() -> None:
    """Forget the names; prefixes and objects stay."""
    op.execute("DROP INDEX repositories_by_prefix")
    op.execute("DROP TABLE repositories")
