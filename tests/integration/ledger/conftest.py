"""Fresh databases of both kinds."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from shutil import copyfile

import pytest
import pytest_twisted
from twisted.internet import reactor

from qabel_block.ledger.interfaces import IDatabase
from qabel_block.ledger.ledger import Ledger
from qabel_block.ledger.migrate import upgrade
from qabel_block.ledger.postgres.database import PostgresDatabase
from qabel_block.ledger.sqlite import SqliteDatabase
from tests.integration.ledger.support import MovableTime, change
from tests.support.partitions import partition_statements
from tests.support.postgres import NewDatabase

KINDS = ["postgresql", "sqlite"]
PARTITIONED = "partitioned"
"""PostgreSQL, with ``objects`` divided as docs/scaling.md says."""


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Which database; tests run on each."""
    return str(request.param)


@pytest.fixture
def empty_dsn(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Callable[[], str]:
    """Makes databases without any table."""
    numbers = itertools.count()

    def new() -> str:
        if kind == "sqlite":
            path = tmp_path / f"empty-{next(numbers)}.sqlite"
            path.touch()
            return f"sqlite:///{path}"
        new_postgres_database: NewDatabase = request.getfixturevalue(
            "new_postgres_database"
        )
        return new_postgres_database()

    return new


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database to copy."""
    path = tmp_path_factory.mktemp("sqlite") / "migrated.sqlite"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def migrated_postgres(new_postgres_database: NewDatabase) -> str:
    """A database to copy."""
    dsn = new_postgres_database()
    upgrade(dsn)
    return dsn


@pytest.fixture
def new_partitioned(
    new_postgres_database: NewDatabase, migrated_postgres: str
) -> Callable[[], str]:
    """Makes migrated PostgreSQL databases in which ``objects`` is divided."""

    def new() -> str:
        dsn = new_postgres_database(migrated_postgres)
        change(dsn, partition_statements())
        return dsn

    return new


@pytest.fixture
def new_postgres(
    new_postgres_database: NewDatabase, migrated_postgres: str
) -> Callable[[], str]:
    """Makes migrated PostgreSQL databases."""
    return lambda: new_postgres_database(migrated_postgres)


@pytest.fixture
def new_sqlite(migrated_sqlite: Path, tmp_path: Path) -> Callable[[], str]:
    """Makes a migrated SQLite database."""

    def new() -> str:
        path = tmp_path / "ledger.sqlite"
        copyfile(migrated_sqlite, path)
        return f"sqlite:///{path}"

    return new


@pytest.fixture
def dsn(kind: str, request: pytest.FixtureRequest) -> str:
    """A migrated database."""
    fixture = {
        "postgresql": "new_postgres",
        PARTITIONED: "new_partitioned",
        "sqlite": "new_sqlite",
    }[kind]
    new: Callable[[], str] = request.getfixturevalue(fixture)
    return new()


def database_at(dsn: str) -> IDatabase:
    """Return the implementation that a DSN is for."""
    path = dsn.removeprefix("sqlite:///")
    if path != dsn:
        return SqliteDatabase(reactor, path)
    return PostgresDatabase(reactor, dsn)


@pytest_twisted.async_yield_fixture
async def database(dsn: str) -> AsyncIterator[IDatabase]:
    """A migrated database, in use."""
    database = database_at(dsn)
    await database.start()
    yield database
    await database.close()


@pytest_twisted.async_yield_fixture
async def other_database(dsn: str) -> AsyncIterator[IDatabase]:
    """The same database, as another node uses it."""
    database = database_at(dsn)
    await database.start()
    yield database
    await database.close()


@pytest.fixture
def now() -> MovableTime:
    """What the ledgers take for the time."""
    return MovableTime()


@pytest.fixture
def ledger(database: IDatabase, now: MovableTime) -> Ledger:
    """A ledger nobody has used yet."""
    return Ledger(database, now)


@pytest.fixture
def other_ledger(other_database: IDatabase, now: MovableTime) -> Ledger:
    """The same ledger, on another node."""
    return Ledger(other_database, now)
