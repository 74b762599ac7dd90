"""Objects and garbage, and the age of prefixes."""

from alembic import op

revision = "5c1e8f0a7b42"
down_revision = "aa3320db4c7f"
branch_labels = None
depends_on = None

# The legacy server kept no time, but its rows lie in the order in which they
# were made: it never changed or deleted one. So they get the first
# microseconds of 1970, and the list of prefixes stays oldest first.
_DATE_LEGACY_PREFIXES = {
    "postgresql": """
        UPDATE prefixes
        SET created = TIMESTAMPTZ 'epoch' + numbered.n * INTERVAL '1 microsecond'
        FROM (
            SELECT name, row_number() OVER (ORDER BY ctid) AS n FROM prefixes
        ) AS numbered
        WHERE numbered.name = prefixes.name
    """,
    "sqlite": """
        UPDATE prefixes
        SET created = strftime('%Y-%m-%dT%H:%M:%S', rowid / 1000000, 'unixepoch')
            || printf('.%06d+00:00', rowid % 1000000)
    """,
}


def upgrade() -> None:
    """Create what the legacy server had no need of."""
    dialect = op.get_context().dialect.name
    timestamp = {"postgresql": "TIMESTAMP WITH TIME ZONE", "sqlite": "TEXT"}[dialect]
    op.execute(
        f"ALTER TABLE prefixes ADD COLUMN created {timestamp} NOT NULL"
        " DEFAULT '1970-01-01T00:00:00.000000+00:00'"
    )
    op.execute(_DATE_LEGACY_PREFIXES[dialect])
    op.execute("CREATE INDEX prefixes_by_owner ON prefixes (user_id, created)")
    op.execute(
        "CREATE TABLE objects"
        " (prefix VARCHAR(36) NOT NULL, path TEXT NOT NULL,"
        " blob_key TEXT NOT NULL, size BIGINT NOT NULL, etag TEXT NOT NULL,"
        f" sha256 VARCHAR(64), created {timestamp} NOT NULL,"
        " PRIMARY KEY (prefix, path))"
    )
    op.execute(
        "CREATE TABLE garbage"
        f" (blob_key TEXT NOT NULL PRIMARY KEY, since {timestamp} NOT NULL)"
    )
    op.execute("CREATE INDEX garbage_by_age ON garbage (since)")


def downgrade() -> None:
    """Forget which blob an object is; the blobs stay in storage."""
    op.execute("DROP TABLE garbage")
    op.execute("DROP TABLE objects")
    op.execute("DROP INDEX prefixes_by_owner")
    op.execute("ALTER TABLE prefixes DROP COLUMN created")
