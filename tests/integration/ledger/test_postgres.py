"""What only a pool of connections to PostgreSQL has to get right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg2
import pytest
import pytest_twisted
from psycopg2.extensions import make_dsn, parse_dsn
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred

from qabel_block.errors import Unavailable
from qabel_block.ledger import prefix_queries
from qabel_block.ledger.interfaces import ITransaction
from qabel_block.ledger.postgres.connection import Settings
from qabel_block.ledger.postgres.database import PostgresDatabase
from qabel_block.ledger.postgres.deadline import Deadline
from qabel_block.ledger.postgres.dsn import postgres_parameters
from qabel_block.ledger.postgres.pool import Pool
from qabel_block.ledger.sql import RawStatement, Statement
from qabel_block.ledger.write_states import lock_write_states
from qabel_block.model import ObjectName
from tests.integration.ledger.support import at_once, change, logged, tracebacks
from tests.support.database import query
from tests.support.ports import free_port

reactor: Any = global_reactor


def sql(text: str) -> Statement:
    return RawStatement(text)


async def seconds(number: float) -> None:
    """Let the reactor run."""
    passed: Deferred[None] = Deferred()
    reactor.callLater(number, passed.callback, None)
    await passed


async def setting(database: PostgresDatabase, name: str) -> str:
    rows = await database.fetch(sql(f"SELECT current_setting('{name}')"))
    return str(rows[0][0])


@pytest.fixture
def dsn(new_postgres: Callable[[], str]) -> str:
    """A migrated database."""
    return new_postgres()


class Opened:
    """Opens databases that are closed at the end of the test."""

    def __init__(self) -> None:
        self.databases: list[PostgresDatabase] = []

    def __call__(self, dsn: str, **options: Any) -> PostgresDatabase:
        database = PostgresDatabase(reactor, dsn, **options)
        self.databases.append(database)
        return database


@pytest_twisted.async_yield_fixture
async def opened() -> Any:
    """Opens databases."""
    opened = Opened()
    yield opened
    for database in opened.databases:
        await database.close()


def backends(dsn: str) -> list[tuple[int, str]]:
    """Return the server's processes that serve others than ourselves here."""
    return query(
        dsn,
        "SELECT pid, application_name FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )


def test_dsn_that_cannot_be_parsed() -> None:
    """A DSN that libpq can't parse is a ValueError that doesn't repeat it."""
    for dsn in ("secret", "postgresql://u:secret%zz@h/d", "host=h secret='"):
        with pytest.raises(ValueError, match="libpq") as caught:
            PostgresDatabase(reactor, dsn)
        assert "secret" not in str(caught.value)


@pytest_twisted.ensureDeferred
async def test_session_with_an_internal_error(opened: Opened, dsn: str) -> None:
    """A session in which the server has failed is not used again."""
    database = opened(dsn)
    await database.fetch(sql("SELECT 1"))
    before = backends(dsn)
    failing = sql("DO $$ BEGIN RAISE internal_error; END $$")
    with pytest.raises(Unavailable):
        await database.fetch(failing)
    await database.fetch(sql("SELECT 1"))
    assert backends(dsn) != before


@pytest_twisted.ensureDeferred
async def test_outdated_plans(opened: Opened, dsn: str) -> None:
    """After a change to the schema what was prepared is prepared once more, on all
    connections, and nobody fails."""
    database = opened(dsn)
    change(dsn, "INSERT INTO users (user_id, size) VALUES (7, 5)")

    async def use() -> object:
        return await database.fetch(prefix_queries.storage_used, user_id=7)

    await at_once(use() for _ in range(3))
    change(dsn, "ALTER TABLE users ALTER size TYPE numeric")
    for _ in range(2):
        assert await at_once(use() for _ in range(3)) == [[(5,)]] * 3


@pytest_twisted.ensureDeferred
async def test_nothing_listens(opened: Opened) -> None:
    """A server that isn't there is unavailable, for a reason without an address or
    a password, and the log says so in one line however often it is tried."""
    database = opened("postgresql://nobody:secret@127.0.0.1:9/nothing")
    with logged() as events:
        await database.start()
        for _ in range(3):
            with pytest.raises(Unavailable) as caught:
                await database.check()
    for word in ("secret", "127.0.0.1", "nobody", "nothing"):
        assert word not in str(caught.value)
    assert len(events) == 1
    assert tracebacks(events) == []


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "wrong", [{"user": "nobody"}, {"dbname": "nothing"}, {"options": "-c nix=1"}]
)
async def test_refused(opened: Opened, dsn: str, wrong: dict[str, str]) -> None:
    """A server that doesn't let us in is unavailable."""
    database = opened(make_dsn(dsn, **wrong))
    with pytest.raises(Unavailable, match="can't be reached") as caught:
        await database.check()
    assert not {"nobody", "nothing"} & set(str(caught.value).split('"'))


@pytest_twisted.ensureDeferred
async def test_session(opened: Opened, dsn: str) -> None:
    """Sessions say who they are, give up before the deadline, and let nobody wait
    for a client that died in a transaction."""
    database = opened(dsn, deadline=10)
    assert await setting(database, "application_name") == "qabel-block"
    assert await setting(database, "statement_timeout") == "9s"
    assert await setting(database, "lock_timeout") == "9s"
    assert await setting(database, "idle_in_transaction_session_timeout") == "10s"
    named = opened(make_dsn(dsn, application_name="mine"))
    assert await setting(named, "application_name") == "mine"


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("default", "used"), [("off", "on"), ("on", "on"), ("remote_apply", "remote_apply")]
)
async def test_durability(opened: Opened, dsn: str, default: str, used: str) -> None:
    """Commits wait for the disk whatever the server's default, unless a transaction
    may be forgotten; stronger defaults stay."""
    database = opened(make_dsn(dsn, options=f"-c synchronous_commit={default}"))
    assert await setting(database, "synchronous_commit") == used

    async def work(transaction: ITransaction) -> str:
        show = sql("SELECT current_setting('synchronous_commit')")
        return str((await transaction.fetch(show))[0][0])

    assert await database.transact(work) == used
    assert await database.transact(work, durable=False) == "off"
    assert await database.transact(work) == used


@pytest_twisted.ensureDeferred
async def test_isolation(opened: Opened, dsn: str) -> None:
    """Each statement of a transaction sees what was committed before it began,
    whatever the server's default."""
    level = "-c default_transaction_isolation=serializable"
    database = opened(make_dsn(dsn, options=level))

    async def work(transaction: ITransaction) -> list[tuple[int, ...]]:
        counts = await transaction.fetch(sql("SELECT count(*) FROM prefixes"))
        change(dsn, "INSERT INTO prefixes (name, user_id) VALUES ('a', 1)")
        return counts + await transaction.fetch(sql("SELECT count(*) FROM prefixes"))

    assert await database.transact(work) == [(0,), (1,)]


@pytest_twisted.ensureDeferred
async def test_no_more_than_the_limit(opened: Opened, dsn: str) -> None:
    """There are never more connections than allowed; who finds all busy waits, and
    that is told."""
    waits: list[float] = []
    database = opened(dsn, connections=3, waited=waits.append)
    queries = [database.fetch(sql("SELECT pg_sleep(0.01)")) for _ in range(12)]
    results = await at_once(queries)
    assert [result for result in results if isinstance(result, Exception)] == []
    assert len(backends(dsn)) == 3
    assert len(waits) == 9
    assert min(waits) > 0


@pytest_twisted.ensureDeferred
async def test_last_used_first(opened: Opened, dsn: str) -> None:
    """Connections are opened on demand, and one is enough for one at a time."""
    database = opened(dsn)
    assert backends(dsn) == []
    for _ in range(5):
        await database.fetch(sql("SELECT 1"))
    assert len(backends(dsn)) == 1


@pytest_twisted.ensureDeferred
async def test_waiting_has_an_end(dsn: str) -> None:
    """Who doesn't get a connection in time is told that all are busy, and takes
    no turn away from others."""
    pool = Pool(
        reactor,
        postgres_parameters(dsn),
        Settings("SELECT", "SELECT"),
        1,
        lambda seconds: None,
    )
    deadline = Deadline(reactor, 10)
    session = await pool.take(deadline)
    for _ in range(2):
        with pytest.raises(Unavailable, match="busy"):
            await pool.take(Deadline(reactor, 0.05))
    waiting = Deferred.fromCoroutine(pool.take(deadline))
    assert not waiting.called
    pool.give_back(session)
    assert await waiting is session
    pool.give_back(session)
    pool.close()
    deadline.cancel()


@pytest_twisted.ensureDeferred
async def test_lock_held_by_somebody_else(opened: Opened, dsn: str) -> None:
    """Who waits too long for a row gives up, changing nothing, and the connection
    stays usable."""
    change(
        dsn,
        "INSERT INTO users (user_id, size) VALUES (1, 0)",
        "INSERT INTO prefixes (name, user_id) VALUES ('p', 1)",
    )
    database = opened(dsn, connections=1, deadline=0.5)

    async def work(transaction: ITransaction) -> None:
        await lock_write_states(transaction, [ObjectName("p", "a")])

    await database.transact(work)
    before = backends(dsn)
    holder = psycopg2.connect(dsn)
    try:
        holder.cursor().execute("SELECT FROM users FOR UPDATE")
        with pytest.raises(Unavailable, match="too long"):
            await database.transact(work)
    finally:
        holder.close()
    await database.transact(work)
    assert backends(dsn) == before


@pytest_twisted.ensureDeferred
async def test_deadlock(opened: Opened, dsn: str) -> None:
    """Of two transactions that wait for each other the one that the server ends is
    done again, and both are committed."""
    change(dsn, "INSERT INTO users (user_id, size) VALUES (1, 0), (2, 0)")
    database = opened(dsn)
    both_began: Deferred[None] = Deferred()
    began = []

    async def work(transaction: ITransaction, first: int, second: int) -> None:
        update = "UPDATE users SET size = size + 1 WHERE user_id = "
        await transaction.execute(sql(f"{update} {first}"))
        began.append(first)
        if len(began) == 2:
            both_began.callback(None)
        if not both_began.called:
            waiting: Deferred[None] = Deferred()
            both_began.chainDeferred(waiting)
            await waiting
        await transaction.execute(sql(f"{update} {second}"))

    outcomes = await at_once(
        [
            database.transact(lambda transaction: work(transaction, 1, 2)),
            database.transact(lambda transaction: work(transaction, 2, 1)),
        ]
    )
    assert outcomes == [None, None]
    assert len(began) > 2  # the other may be in the way once more
    assert query(dsn, "SELECT size FROM users") == [(2,), (2,)]


@pytest_twisted.ensureDeferred
async def test_conflicts_without_end(opened: Opened, dsn: str) -> None:
    """Work that meets a conflict again and again is given up at some time."""
    database = opened(dsn)
    attempts = 0

    async def work(transaction: ITransaction) -> None:
        nonlocal attempts
        attempts += 1
        conflict = "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END $$"
        await transaction.execute(sql(conflict))

    with pytest.raises(Unavailable, match="conflicts"):
        await database.transact(work)
    assert 1 < attempts < 10


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ("insufficient_privilege", "privileges"),
        ("read_only_sql_transaction", "read-only"),
        ("disk_full", "disk is full"),
        ("undefined_column", "qabel-block migrate"),
        ("query_canceled", "too long"),
        ("internal_error", "internal error"),
        ("index_corrupted", "internal error"),
    ],
)
async def test_reasons(opened: Opened, dsn: str, error: str, reason: str) -> None:
    """What is wrong with the server is said in words for its operator."""
    database = opened(dsn)
    failing = sql(f"DO $$ BEGIN RAISE {error} USING MESSAGE = 'secret'; END $$")
    with pytest.raises(Unavailable, match=reason) as caught:
        await database.transact(lambda transaction: transaction.execute(failing))
    assert "secret" not in str(caught.value)


@pytest_twisted.ensureDeferred
async def test_swallowed_error(opened: Opened, dsn: str) -> None:
    """A transaction that the server rolled back is never taken for committed."""
    database = opened(dsn)

    async def work(transaction: ITransaction) -> None:
        await transaction.execute(sql("INSERT INTO users (user_id) VALUES (1)"))
        with pytest.raises(psycopg2.Error):
            await transaction.execute(sql("SELECT 1/0"))

    with pytest.raises(Unavailable, match="rolled back"):
        await database.transact(work)
    assert query(dsn, "SELECT count(*) FROM users") == [(0,)]


@pytest_twisted.ensureDeferred
async def test_close(opened: Opened, dsn: str) -> None:
    """After closing there is no connection left, and nothing opens one."""
    database = opened(dsn)
    await at_once(database.fetch(sql("SELECT 1")) for _ in range(4))
    under_way = Deferred.fromCoroutine(database.fetch(sql("SELECT pg_sleep(0.5)")))
    await seconds(0)
    await database.close()
    with pytest.raises(Unavailable):
        await under_way
    with pytest.raises(Unavailable):
        await database.fetch(sql("SELECT 1"))
    while backends(dsn):
        await seconds(0.01)


@pytest_twisted.ensureDeferred
async def test_hosts_that_fail(dsn: str, opened: Opened) -> None:
    """libpq goes from host to host with a new socket each time. The reactor must not
    watch those that are closed: it would take the next socket of that number for
    them, whosever it is."""
    folder = parse_dsn(dsn)["host"]
    # Nobody is a standby, so each host is tried twice.
    many = make_dsn(
        dsn,
        host=f"127.0.0.1,{folder},127.0.0.1,{folder}",
        port=f"{free_port()},5432,{free_port()},5432",
        target_session_attrs="prefer-standby",
    )
    for _ in range(5):
        database = opened(many)
        assert await database.fetch(sql("SELECT 1")) == [(1,)]
        await database.close()
    watched = {*reactor.getReaders(), *reactor.getWriters()}
    assert [one for one in watched if "postgres" in type(one).__module__] == []
