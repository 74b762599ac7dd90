"""Built-in accounts: users, their tokens, and a count of changes to both."""

from alembic import op

revision = "d9e5b3f08c17"
down_revision = "c3a9f1d27e64"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    dialect = op.get_context().dialect.name
    timestamp = {"postgresql": "TIMESTAMP WITH TIME ZONE", "sqlite": "TEXT"}[dialect]
    op.execute(
        "CREATE TABLE accounts"
        " (user_id INTEGER NOT NULL PRIMARY KEY, name VARCHAR(64),"
        " storage_quota BIGINT NOT NULL, traffic_quota BIGINT NOT NULL,"
        f" created {timestamp} NOT NULL, disabled {timestamp}, erased {timestamp})"
    )
    op.execute("CREATE UNIQUE INDEX accounts_by_name ON accounts (name)")
    op.execute(
        "CREATE TABLE tokens"
        " (user_id INTEGER NOT NULL, id INTEGER NOT NULL,"
        " sha256 VARCHAR(64) NOT NULL, permission VARCHAR(16) NOT NULL,"
        f" label TEXT NOT NULL, created {timestamp} NOT NULL,"
        f" expires BIGINT, revoked {timestamp}, PRIMARY KEY (user_id, id))"
    )
    op.execute("CREATE UNIQUE INDEX tokens_by_sha256 ON tokens (sha256)")
    op.execute(
        "CREATE TABLE account_changes"
        " (only_row INTEGER NOT NULL PRIMARY KEY, version BIGINT NOT NULL,"
        " CONSTRAINT only_one_count CHECK (only_row = 1))"
    )
    op.execute("INSERT INTO account_changes (only_row, version) VALUES (1, 0)")


def downgrade() -> None:
    """Forget the users; what they have stored stays."""
    op.execute("DROP TABLE account_changes")
    op.execute("DROP INDEX tokens_by_sha256")
    op.execute("DROP TABLE tokens")
    op.execute("DROP INDEX accounts_by_name")
    op.execute("DROP TABLE accounts")
