"""Who pays for garbage, who deletes it, and the newest version of each owner."""

from alembic import op

revision = "c3a9f1d27e64"
down_revision = "3b9d5a7e41f0"
branch_labels = None
depends_on = None

_COLUMNS = (
    ("garbage", "claimed", "BOOLEAN NOT NULL DEFAULT FALSE"),
    ("garbage", "owner_id", "INTEGER"),
    ("garbage", "size", "BIGINT NOT NULL DEFAULT 0"),
    ("users", "garbage", "BIGINT NOT NULL DEFAULT 0"),
    ("users", "latest", "BIGINT NOT NULL DEFAULT 0"),
)


def upgrade() -> None:
    """Add the columns. Garbage from before counts for nobody."""
    for table, column, kind in _COLUMNS:
        op.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")
    op.execute("CREATE INDEX garbage_by_owner ON garbage (owner_id, since)")


def downgrade() -> None:
    """Drop them."""
    op.execute("DROP INDEX garbage_by_owner")
    for table, column, _ in reversed(_COLUMNS):
        op.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
