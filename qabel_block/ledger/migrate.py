"""The ledger's schema: bringing a database to it.

The revisions are those of ``migrations/``, beside the package in a checkout and
inside it once installed. ``alembic -x url=DSN upgrade head`` in a checkout,
``qabel-block migrate`` and :func:`upgrade` do the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, NullPool, create_engine, event, inspect

from qabel_block.ledger.postgres.dsn import connect, sqlite_file
from qabel_block.ledger.sqlite_connect import connect_sqlite

DSN = "dsn"
"""The attribute of Alembic's configuration that names the database."""

_PACKAGE = Path(__file__).resolve().parent.parent

# Held until the end of the transaction, so that of several nodes that migrate
# at once one does it and the others then find it done. Any constant will do.
_LOCK = "SELECT pg_advisory_xact_lock(4842189306720147)"


def upgrade(dsn: str, revision: str = "head") -> None:
    """Bring a database to the newest schema, or create that; blocks.

    Does nothing if the database has it already.

    :param dsn: as for ``--psql-dsn`` (PROTOCOL section 6).
    :raises sqlalchemy.exc.SQLAlchemyError: if the database doesn't do it; it
        is then as it was before.
    """
    config = _config()
    config.attributes[DSN] = dsn
    command.upgrade(config, revision)


def downgrade(dsn: str, revision: str) -> None:
    """Take a database back to an older revision; blocks.

    What only newer revisions have a place for is lost.
    """
    config = _config()
    config.attributes[DSN] = dsn
    command.downgrade(config, revision)


def current(dsn: str) -> str | None:
    """Return the revision that a database is at, ``None`` for an empty one; blocks.

    :raises sqlalchemy.exc.SQLAlchemyError: if the database can't be asked.
    """
    with connected(dsn) as connection:
        return MigrationContext.configure(connection).get_current_revision()


def is_legacy(dsn: str) -> bool:
    """Say whether a database has the legacy server's tables and none of ours; blocks.

    :raises sqlalchemy.exc.SQLAlchemyError: if the database can't be asked.
    """
    with connected(dsn) as connection:
        tables = inspect(connection).get_table_names()
    return "prefixes" in tables and "objects" not in tables


@contextmanager
def connected(dsn: str) -> Iterator[Connection]:
    """Give a connection for migrating, in a transaction that ends with the block."""
    with _engine(dsn).begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(_LOCK)
        yield connection


def _config() -> Config:
    folders = (_PACKAGE / "migrations", _PACKAGE.parent / "migrations")
    folder = next(folder for folder in folders if (folder / "env.py").is_file())
    config = Config()
    # The value is interpolated.
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    return config


def _engine(dsn: str) -> Engine:
    """Return an engine that connects just as the driver does.

    SQLAlchemy's own URLs know less than libpq's connection strings.
    """
    path = sqlite_file(dsn)
    if path is None:
        return create_engine(
            "postgresql+psycopg2://",
            creator=lambda: connect(dsn),
            poolclass=NullPool,
        )
    engine = create_engine(
        "sqlite+pysqlite://",
        creator=lambda: connect_sqlite(path),
        poolclass=NullPool,
    )

    # The driver would not begin a transaction for the statements of a migration.
    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
