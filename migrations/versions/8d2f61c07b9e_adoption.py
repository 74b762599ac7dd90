"""Whether what the legacy server has stored is still to be adopted."""

from alembic import op

revision = "8d2f61c07b9e"
down_revision = "5c1e8f0a7b42"
branch_labels = None
depends_on = None

_MUST_ADOPT = {
    "postgresql": """
        INSERT INTO unfinished SELECT 'adopt', now()
        WHERE EXISTS (SELECT 1 FROM prefixes WHERE created < '1971-01-01')
    """,
    "sqlite": """
        INSERT INTO unfinished
        SELECT 'adopt', strftime('%Y-%m-%dT%H:%M:%S.000000+00:00', 'now')
        WHERE EXISTS (SELECT 1 FROM prefixes WHERE created < '1971-01-01')
    """,
}


def upgrade() -> None:
    """Create the table; it has a row if there are prefixes of the legacy server."""
    dialect = op.get_context().dialect.name
    timestamp = {"postgresql": "TIMESTAMP WITH TIME ZONE", "sqlite": "TEXT"}[dialect]
    op.execute(
        "CREATE TABLE unfinished"
        f" (task VARCHAR(36) NOT NULL PRIMARY KEY, since {timestamp} NOT NULL)"
    )
    op.execute(_MUST_ADOPT[dialect])


def downgrade() -> None:
    """Forget it."""
    op.execute("DROP TABLE unfinished")
