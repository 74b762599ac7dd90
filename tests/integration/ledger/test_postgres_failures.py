"""PostgreSQL that is restarted, killed or cut off while it is used."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import pytest_twisted
from psycopg2.extensions import make_dsn
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred

from qabel_block.errors import OutcomeUnknown, Unavailable
from qabel_block.ledger import prefix_queries
from qabel_block.ledger.interfaces import ITransaction
from qabel_block.ledger.ledger import Ledger
from qabel_block.ledger.migrate import upgrade
from qabel_block.ledger.postgres.database import PostgresDatabase
from tests.integration.ledger.proxy import Proxy
from tests.integration.ledger.support import at_once, change, logged, tracebacks
from tests.integration.ledger.test_postgres import backends, seconds, sql
from tests.support.database import query
from tests.support.postgres import PostgresServer, databases_on

reactor: Any = global_reactor


@pytest.fixture
def server(own_postgres: PostgresServer) -> Iterator[PostgresServer]:
    """A server that runs before and after the test."""
    yield own_postgres
    own_postgres.start()


@pytest.fixture
def dsn(server: PostgresServer) -> Iterator[str]:
    """A migrated database on it."""
    with databases_on(server.dsn) as new:
        dsn = new()
        upgrade(dsn)
        yield dsn
        server.start()


@pytest_twisted.async_yield_fixture
async def database(dsn: str) -> Any:
    """The database, with connections that are opened and idle."""
    database = PostgresDatabase(reactor, dsn, connections=4)
    await at_once(database.fetch(sql("SELECT pg_sleep(0.05)")) for _ in range(4))
    assert len(backends(dsn)) == 4
    yield database
    await database.close()


@pytest_twisted.async_yield_fixture
async def proxy(server: PostgresServer) -> Any:
    """A network before the server."""
    proxy = Proxy(server.socket).start()
    yield proxy
    await proxy.stop()


@pytest.fixture
def through(proxy: Proxy, dsn: str) -> Callable[..., PostgresDatabase]:
    """Reaches the database through that network."""
    address = {"host": "localhost", "port": str(proxy.port), "sslmode": "disable"}
    by_proxy = make_dsn(dsn, gssencmode="disable", **address)
    return lambda **options: PostgresDatabase(reactor, by_proxy, **options)


async def create(transaction: ITransaction, name: str) -> int:
    return await transaction.execute(
        prefix_queries.create_prefix,
        prefix=name,
        user_id=1,
    )


def creating(name: str) -> Callable[[ITransaction], Any]:
    return lambda transaction: create(transaction, name)


def prefixes(dsn: str) -> list[str]:
    return sorted(name for (name,) in query(dsn, "SELECT name FROM prefixes"))


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("mode", ["fast", "immediate"])
@pytest.mark.parametrize("pause", [0, 0.1])
async def test_restart(
    database: PostgresDatabase,
    server: PostgresServer,
    dsn: str,
    mode: str,
    pause: float,
) -> None:
    """A restart under idle connections is survived by the next query and the next
    transaction, whether or not its end was noticed before, without a traceback."""
    with logged() as events:
        server.stop(mode)
        server.start()
        await seconds(pause)
        first = [database.fetch(sql("SELECT 1")) for _ in range(4)]
        assert await at_once(first) == [[(1,)]] * 4
        server.stop(mode)
        server.start()
        await seconds(pause)
        changes = [database.transact(creating(f"p{n}")) for n in range(4)]
        assert await at_once(changes) == [1] * 4
    assert prefixes(dsn) == ["p0", "p1", "p2", "p3"]
    assert tracebacks(events) == []


@pytest_twisted.ensureDeferred
async def test_down_and_up(
    database: PostgresDatabase, server: PostgresServer, dsn: str
) -> None:
    """While the server is down everything is unavailable, at once; when it is back
    everything works again by itself."""
    with logged() as events:
        server.stop()
        for _ in range(3):
            with pytest.raises(Unavailable):
                await database.fetch(sql("SELECT 1"))
            with pytest.raises(Unavailable):
                await database.transact(creating("a"))
            with pytest.raises(Unavailable):
                await database.check()
        server.start()
        await database.check()
        await database.transact(creating("b"))
    assert prefixes(dsn) == ["b"]
    assert tracebacks(events) == []
    assert len([event for event in events if event.get("log_namespace")]) == 2


@pytest_twisted.ensureDeferred
async def test_idle_connection_that_ends(database: PostgresDatabase, dsn: str) -> None:
    """A connection that the server ends while it is idle is dropped, not polled and
    not logged."""
    with logged() as events:
        change(
            dsn,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        readers = len(reactor.getReaders())
        while len(reactor.getReaders()) > readers - 4:
            await seconds(0.01)
        assert await database.fetch(sql("SELECT 1")) == [(1,)]
    assert tracebacks(events) == []
    assert len(backends(dsn)) == 1


@pytest_twisted.ensureDeferred
async def test_restart_within_a_transaction(
    database: PostgresDatabase, server: PostgresServer, dsn: str
) -> None:
    """Work whose connection breaks before the commit is done again from the start,
    and committed once."""
    attempts = 0

    async def work(transaction: ITransaction) -> int:
        nonlocal attempts
        attempts += 1
        await create(transaction, f"a{attempts}")
        if attempts == 1:
            server.stop("immediate")
            server.start()
        return await create(transaction, f"b{attempts}")

    with logged() as events:
        assert await database.transact(work) == 1
    assert prefixes(dsn) == ["a2", "b2"]
    assert tracebacks(events) == []


@pytest_twisted.ensureDeferred
async def test_connections_that_break_for_ever(
    proxy: Proxy, through: Callable[..., PostgresDatabase], dsn: str
) -> None:
    """Work whose connection breaks each time is given up, and nothing is done."""
    database = through()
    attempts = 0

    async def work(transaction: ITransaction) -> None:
        nonlocal attempts
        attempts += 1
        await create(transaction, "a")
        proxy.cut_at = b"EXECUTE"
        await create(transaction, "b")

    with pytest.raises(Unavailable) as caught:
        await database.transact(work)
    assert not isinstance(caught.value, OutcomeUnknown)
    assert 1 < attempts < 10
    assert prefixes(dsn) == []
    await database.close()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("delivered", [True, False])
@pytest.mark.parametrize("together", [True, False])
async def test_lost_during_commit(
    proxy: Proxy,
    through: Callable[..., PostgresDatabase],
    dsn: str,
    delivered: bool,
    together: bool,
) -> None:
    """When the connection breaks during a commit the outcome is unknown, and the
    work isn't done again."""
    database = through()
    attempts = 0

    async def work(transaction: ITransaction) -> None:
        nonlocal attempts
        attempts += 1
        if together:
            await transaction.finish(
                prefix_queries.create_prefix, prefix="a", user_id=1
            )
        else:
            await create(transaction, "a")

    proxy.cut_at, proxy.deliver = b"COMMIT\0", delivered
    with logged() as events, pytest.raises(OutcomeUnknown):
        await database.transact(work)
    assert attempts == 1
    while backends(dsn):
        await seconds(0.01)
    assert prefixes(dsn) == (["a"] if delivered else [])
    await database.transact(creating("b"))
    assert tracebacks(events) == []
    await database.close()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("delivered", [True, False])
async def test_note_lost_during_commit(
    proxy: Proxy, through: Callable[..., PostgresDatabase], dsn: str, delivered: bool
) -> None:
    """A blob is noted once more if the connection turns out to be dead, since noting
    it twice does no harm."""
    database = through()
    ledger = Ledger(database, reactor.seconds)
    await ledger.note_blob("prefix/a~1")
    proxy.cut_at, proxy.deliver = b"COMMIT\0", delivered
    await ledger.note_blob("prefix/b~1")
    assert proxy.connections == 2
    assert query(dsn, "SELECT count(*) FROM garbage") == [(2,)]
    await database.close()


@pytest_twisted.ensureDeferred
async def test_stale_connection(
    proxy: Proxy, through: Callable[..., PostgresDatabase]
) -> None:
    """A query is asked once more when its connection turns out to be dead, but not
    again and again."""
    database = through()
    proxy.cut_at = b"SELECT 1"
    assert await database.fetch(sql("SELECT 1")) == [(1,)]
    assert proxy.connections == 2

    async def cut_twice() -> None:
        proxy.cut_at = b"SELECT 1"
        while proxy.cut_at:
            await seconds(0.001)
        proxy.cut_at = b"SELECT 1"

    _, outcome = await at_once([cut_twice(), database.fetch(sql("SELECT 1"))])
    assert isinstance(outcome, Unavailable)
    await database.close()


@pytest_twisted.ensureDeferred
async def test_silent_server(
    proxy: Proxy, through: Callable[..., PostgresDatabase], dsn: str
) -> None:
    """A server that stops answering is unavailable when the time is up, in whatever
    a call waits for, and used again as soon as it answers."""
    database = through(deadline=1.0)
    assert await database.fetch(sql("SELECT 1")) == [(1,)]
    with logged() as events:
        proxy.silent = True
        for _ in range(2):
            with pytest.raises(Unavailable):
                await database.fetch(sql("SELECT 1"))
        with pytest.raises(Unavailable):
            await database.transact(creating("a"))
        proxy.silent = False
        # These get the numbers of the sockets that were given up.
        answers = await at_once(database.fetch(sql("SELECT 1")) for _ in range(4))
    assert answers == [[(1,)]] * 4
    assert tracebacks(events) == []
    assert prefixes(dsn) == []
    await database.close()


@pytest_twisted.ensureDeferred
async def test_silence_during_commit(
    proxy: Proxy, through: Callable[..., PostgresDatabase]
) -> None:
    """When a commit isn't answered in time its outcome is unknown."""
    database = through(deadline=0.3)

    async def work(transaction: ITransaction) -> None:
        await create(transaction, "a")
        proxy.silent = True

    with pytest.raises(OutcomeUnknown):
        await database.transact(work)
    await database.close()


@pytest_twisted.ensureDeferred
async def test_silence_within_a_transaction(
    proxy: Proxy, through: Callable[..., PostgresDatabase], dsn: str
) -> None:
    """A client that vanishes in a transaction doesn't keep its locks."""
    change(dsn, "INSERT INTO users (user_id, size) VALUES (1, 0)")
    database = through(deadline=0.3)
    never: Deferred[None] = Deferred()

    async def work(transaction: ITransaction) -> None:
        await transaction.execute(sql("UPDATE users SET size = 1"))
        proxy.silent = True
        await never

    vanished = Deferred.fromCoroutine(database.transact(work))
    await seconds(0.1)
    change(dsn, "UPDATE users SET size = size + 5")
    assert query(dsn, "SELECT size FROM users") == [(5,)]
    never.callback(None)
    with pytest.raises(Unavailable):
        await vanished
    await database.close()


@pytest_twisted.ensureDeferred
async def test_nothing_is_left_open(
    proxy: Proxy, through: Callable[..., PostgresDatabase]
) -> None:
    """Connections that break leave no file open and nothing with the reactor."""
    database = through()
    await database.fetch(sql("SELECT 1"))

    async def all_is_closed() -> None:
        while len(os.listdir("/proc/self/fd")) > files or reactor.getWriters():
            await seconds(0.01)

    files, readers = len(os.listdir("/proc/self/fd")), len(reactor.getReaders())
    for _ in range(5):
        proxy.cut_at = b"SELECT 1"
        assert await database.fetch(sql("SELECT 1")) == [(1,)]
    await all_is_closed()
    assert len(reactor.getReaders()) == readers
    await database.close()
