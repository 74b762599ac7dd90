"""The legacy server's last schema.

A database of that server says it is at this revision, whatever its own
revisions before were.
"""

from alembic import op

revision = "aa3320db4c7f"
down_revision = None
branch_labels = None
depends_on = None

_FIRST_OF_MONTH = {
    "postgresql": "date_trunc('month', traffic_month) = traffic_month",
    "sqlite": "date(traffic_month, 'start of month') = traffic_month",
}


def upgrade() -> None:
    """Create the tables."""
    # NOT NULL is what PRIMARY KEY implies everywhere but on SQLite.
    op.execute(
        "CREATE TABLE users"
        " (user_id INTEGER NOT NULL PRIMARY KEY, size BIGINT DEFAULT 0)"
    )
    op.execute(
        "CREATE TABLE prefixes"
        " (name VARCHAR(36) NOT NULL PRIMARY KEY, user_id INTEGER NOT NULL)"
    )
    first_of_month = _FIRST_OF_MONTH[op.get_context().dialect.name]
    op.execute(
        "CREATE TABLE traffic"
        " (user_id INTEGER NOT NULL, traffic_month DATE NOT NULL, traffic BIGINT,"
        " CONSTRAINT pk_traffic PRIMARY KEY (user_id, traffic_month),"
        f" CONSTRAINT traffic_month_constraint CHECK ({first_of_month}))"
    )


def downgrade() -> None:
    """Drop them, and with them all that the legacy server knew."""
    op.execute("DROP TABLE traffic")
    op.execute("DROP TABLE prefixes")
    op.execute("DROP TABLE users")
