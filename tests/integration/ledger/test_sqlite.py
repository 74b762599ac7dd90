"""What only a database in a file has to get right."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred

from qabel_block.errors import OutcomeUnknown, StorageFull, Unavailable
from qabel_block.ledger import prefix_queries
from qabel_block.ledger.interfaces import ITransaction
from qabel_block.ledger.migrate import upgrade
from qabel_block.ledger.sql import RawStatement, Statement
from qabel_block.ledger.sqlite import SqliteDatabase, SqliteThread

reactor: Any = global_reactor


def sql(text: str) -> Statement:
    return RawStatement(text)


async def create(transaction: ITransaction, name: str = "a") -> int:
    return await transaction.execute(
        prefix_queries.create_prefix, prefix=name, user_id=1
    )


async def pragma(database: SqliteDatabase, name: str) -> object:
    async def work(transaction: ITransaction) -> object:
        return (await transaction.fetch(sql(f"PRAGMA {name}")))[0][0]

    return await database.transact(work)


@pytest.fixture
def path(new_sqlite: Callable[[], str]) -> Path:
    """The file of a migrated database."""
    return Path(new_sqlite().removeprefix("sqlite:///"))


@pytest_twisted.async_yield_fixture
async def database(path: Path) -> Any:
    """That database, in use."""
    database = SqliteDatabase(reactor, str(path))
    await database.start()
    yield database
    await database.close()


@pytest_twisted.ensureDeferred
async def test_durability(database: SqliteDatabase) -> None:
    """Commits wait for the disk, except those that may be forgotten; queries and
    changes don't wait for each other."""
    wal, normal, full = "wal", 1, 2

    async def work(transaction: ITransaction) -> object:
        return (await transaction.fetch(sql("PRAGMA synchronous")))[0][0]

    assert await pragma(database, "journal_mode") == wal
    assert await database.transact(work) == full
    assert await database.transact(work, durable=False) == normal
    assert await database.transact(work) == full


@pytest_twisted.ensureDeferred
async def test_durability_after_failure(database: SqliteDatabase) -> None:
    """After a forgettable transaction that failed commits wait for the disk again."""

    async def work(transaction: ITransaction) -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        await database.transact(work, durable=False)
    assert await pragma(database, "synchronous") == 2


@pytest_twisted.ensureDeferred
async def test_reactor_is_not_blocked(database: SqliteDatabase, path: Path) -> None:
    """While a change waits for another process the reactor runs, and so do
    queries; then the change is made."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    change = Deferred.fromCoroutine(database.transact(create))
    for _ in range(3):
        ran: Deferred[None] = Deferred()
        reactor.callLater(0.01, ran.callback, None)
        await ran
        assert await database.fetch(prefix_queries.prefixes_of, user_id=1) == []
    assert not change.called
    other.execute("COMMIT")
    assert await change == 1
    other.close()


@pytest_twisted.ensureDeferred
async def test_locked(
    path: Path, database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change that another process keeps from the file for too long is
    unavailable, and works later."""
    monkeypatch.setattr("qabel_block.ledger.sqlite.BUSY_SECONDS", 0.05)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="locked"):
        await database.transact(create)
    other.execute("COMMIT")
    other.close()
    assert await database.transact(create) == 1


@pytest_twisted.ensureDeferred
async def test_check_while_locked(
    database: SqliteDatabase, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a change that another process kept from being made, a check fails until
    changes are possible again. Before it, nothing is locked to find that out."""
    monkeypatch.setattr("qabel_block.ledger.sqlite.BUSY_SECONDS", 0.05)
    monkeypatch.setattr("qabel_block.ledger.sqlite.CHECK_MILLISECONDS", 50)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    await database.check()
    with pytest.raises(Unavailable):
        await database.transact(create)
    for _ in range(2):
        with pytest.raises(Unavailable, match="locked"):
            await database.check()
    other.execute("ROLLBACK")
    await database.check()
    other.close()


@pytest_twisted.ensureDeferred
async def test_full(database: SqliteDatabase, path: Path) -> None:
    """A full disk is StorageFull, nothing is changed, and queries still work; so do
    changes once there is room."""
    many = sql(
        "INSERT INTO users (user_id, size)"
        " WITH RECURSIVE n(i) AS"
        " (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9999)"
        " SELECT i, i FROM n"
    )

    async def fill(transaction: ITransaction) -> int:
        pages = (await transaction.fetch(sql("PRAGMA page_count")))[0][0]
        # The limit stands in for the end of the disk: SQLite reports both alike.
        await transaction.fetch(sql(f"PRAGMA max_page_count = {pages}"))
        return await transaction.execute(many)

    with pytest.raises(StorageFull):
        await database.transact(fill)
    assert await database.fetch(sql("SELECT count(*) FROM users")) == [(0,)]

    async def fill_again(transaction: ITransaction) -> int:
        await transaction.fetch(sql("PRAGMA max_page_count = 1000000"))
        return await transaction.execute(many)

    assert await database.transact(fill_again) == 9999


@pytest_twisted.ensureDeferred
async def test_file_that_is_missing(tmp_path: Path) -> None:
    """A file that isn't there is unavailable and isn't made; once it is made, it is
    used."""
    path = tmp_path / "a b%20?c#d.sqlite"
    database = SqliteDatabase(reactor, str(path))
    await database.start()
    for attempt in (
        database.check(),
        database.transact(create),
        database.fetch(prefix_queries.prefixes_of, user_id=1),
    ):
        with pytest.raises(Unavailable, match="can't be opened") as caught:
            await attempt
        assert str(tmp_path) not in str(caught.value)
    assert os.listdir(tmp_path) == []
    upgrade(f"sqlite:///{path}")
    await database.check()
    await database.close()
    assert os.listdir(tmp_path) == [path.name]


@pytest_twisted.ensureDeferred
async def test_file_that_is_something_else(tmp_path: Path) -> None:
    """A file that is no database is unavailable and stays as it is."""
    path = tmp_path / "notes.txt"
    path.write_text("remember the milk\n" * 100)
    database = SqliteDatabase(reactor, str(path))
    await database.start()
    with pytest.raises(Unavailable, match="no database"):
        await database.check()
    with pytest.raises(Unavailable, match="no database"):
        await database.transact(create)
    await database.close()
    assert path.read_text() == "remember the milk\n" * 100


@pytest_twisted.ensureDeferred
async def test_awaiting_something_else(database: SqliteDatabase) -> None:
    """Work that awaits anything but its transaction fails, and changes nothing."""

    async def work(transaction: ITransaction) -> None:
        await create(transaction)
        await Deferred()

    with pytest.raises(RuntimeError, match="awaited something"):
        await database.transact(work)
    assert await database.fetch(prefix_queries.prefixes_of, user_id=1) == []


@pytest_twisted.ensureDeferred
async def test_close(path: Path) -> None:
    """Closing waits for what is under way, and leaves one file."""
    database = SqliteDatabase(reactor, str(path))
    await database.start()
    await database.fetch(prefix_queries.prefixes_of, user_id=1)
    change = Deferred.fromCoroutine(database.transact(create))
    await database.close()
    assert change.called
    assert await change == 1
    assert os.listdir(path.parent) == [path.name]


@pytest_twisted.ensureDeferred
async def test_change_that_stalls(path: Path) -> None:
    """A change whose disk does not answer has an unknown outcome once its time is up;
    those behind it are given up without having begun, and later ones work."""
    database = SqliteDatabase(reactor, str(path), limit=0.2)
    await database.start()
    disk = threading.Event()

    async def stalled(transaction: ITransaction) -> None:
        await create(transaction, "a")
        disk.wait()

    first = Deferred.fromCoroutine(database.transact(stalled))
    second = Deferred.fromCoroutine(
        database.transact(lambda transaction: create(transaction, "b"))
    )
    with pytest.raises(OutcomeUnknown):
        await first
    with pytest.raises(Unavailable) as caught:
        await second
    assert not isinstance(caught.value, OutcomeUnknown)
    assert await database.fetch(prefix_queries.prefixes_of, user_id=1) == []
    disk.set()
    while not await database.fetch(prefix_queries.prefixes_of, user_id=1):
        pass
    await database.transact(lambda transaction: create(transaction, "c"))
    assert await database.fetch(prefix_queries.prefixes_of, user_id=1) == [
        ("a",),
        ("c",),
    ]
    await database.close()


@pytest_twisted.ensureDeferred
async def test_calls_that_stall(path: Path) -> None:
    """Behind a call that hangs every other one ends in time, and nothing is kept of
    those that were given up."""
    thread = SqliteThread(reactor, str(path), "stalled", limit=0.05)
    thread.start()
    disk = threading.Event()
    began: list[object] = []
    hanging = Deferred.fromCoroutine(thread.run(lambda _: disk.wait()))
    for _ in range(5):
        with pytest.raises(Unavailable):
            await thread.run(began.append)
    with pytest.raises(Unavailable):
        await hanging
    disk.set()
    while True:
        try:
            assert await thread.run(lambda _: "works") == "works"
            break
        except Unavailable:
            continue
    assert began == []
    await thread.close()
