"""What every IDatabase does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NoReturn

import pytest
import pytest_twisted
from sqlalchemy import bindparam, delete, func, select, update
from twisted.internet.defer import CancelledError, Deferred
from zope.interface.verify import verifyObject

from qabel_block.errors import NotOwner, Unavailable
from qabel_block.ledger import change_queries, prefix_queries
from qabel_block.ledger.interfaces import IDatabase, ITransaction
from qabel_block.ledger.migrate import upgrade
from qabel_block.ledger.revisions import HEAD
from qabel_block.ledger.schema import prefixes, users
from qabel_block.ledger.sql import RawStatement, Statement
from qabel_block.ledger.write_states import lock_write_states
from qabel_block.model import ObjectName, WriteState
from tests.integration.ledger.conftest import database_at
from tests.integration.ledger.support import at_once, logged, tracebacks

increase = Statement(update(users).values(size=users.c.size + bindparam("by")))
count_prefixes = Statement(select(func.count()).select_from(prefixes))
delete_prefixes = Statement(delete(prefixes))
mistaken = RawStatement("SELEKT 1")


async def create(transaction: ITransaction, name: str, user_id: int = 1) -> int:
    return await transaction.execute(
        prefix_queries.create_prefix, prefix=name, user_id=user_id
    )


def creating(name: str) -> Callable[[ITransaction], Awaitable[int]]:
    return lambda transaction: create(transaction, name)


async def names(database: IDatabase) -> list[str]:
    rows = await database.fetch(prefix_queries.prefixes_of, user_id=1)
    return [name for (name,) in rows]


@pytest_twisted.ensureDeferred
async def test_interface(database: IDatabase) -> None:
    """It provides IDatabase, and hands out ITransactions."""
    assert verifyObject(IDatabase, database)

    async def work(transaction: ITransaction) -> bool:
        return bool(verifyObject(ITransaction, transaction))

    assert await database.transact(work)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("durable", [True, False])
async def test_commit(database: IDatabase, durable: bool) -> None:
    """What a transaction did is there once it has returned, with its result."""

    async def work(transaction: ITransaction) -> str:
        await create(transaction, "a")
        await create(transaction, "b")
        return "done"

    assert await database.transact(work, durable) == "done"
    assert await names(database) == ["a", "b"]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("durable", [True, False])
async def test_finish(
    database: IDatabase, other_database: IDatabase, durable: bool
) -> None:
    """A last change is committed with all that came before, be it the first."""

    def finishing(*names: str) -> Callable[[ITransaction], Awaitable[str]]:
        async def work(transaction: ITransaction) -> str:
            *first, last = names
            for name in first:
                await create(transaction, name)
            await transaction.finish(
                prefix_queries.create_prefix, prefix=last, user_id=1
            )
            return last

        return work

    assert await database.transact(finishing("a", "b"), durable) == "b"
    assert await database.transact(finishing("c"), durable) == "c"
    assert await names(other_database) == ["a", "b", "c"]


@pytest_twisted.ensureDeferred
async def test_finish_that_fails(database: IDatabase) -> None:
    """When the last change fails nothing is done, and the next work is as ever."""

    async def work(transaction: ITransaction) -> None:
        await create(transaction, "a")
        await transaction.finish(mistaken)

    with pytest.raises(Exception, match="SELEKT"):
        await database.transact(work)
    assert await names(database) == []
    await database.transact(creating("b"))
    assert await names(database) == ["b"]


@pytest_twisted.ensureDeferred
async def test_other_node(database: IDatabase, other_database: IDatabase) -> None:
    """What one node committed the other one sees, at once."""
    for number in range(3):
        name = f"p{number}"
        await database.transact(creating(name))
        assert (await names(other_database))[-1] == name


@pytest_twisted.ensureDeferred
async def test_roll_back(database: IDatabase) -> None:
    """When the work raises, nothing is done and the very error is passed on."""
    error = NotOwner("not yours")

    async def work(transaction: ITransaction) -> NoReturn:
        await create(transaction, "a")
        raise error

    with pytest.raises(NotOwner) as caught:
        await database.transact(work)
    assert caught.value is error
    assert await names(database) == []
    await database.transact(creating("b"))
    assert await names(database) == ["b"]


@pytest_twisted.ensureDeferred
async def test_work_without_statements(database: IDatabase) -> None:
    """Work that asks the database for nothing may return and raise."""

    async def work(transaction: ITransaction) -> int:
        return 3

    async def refuse(transaction: ITransaction) -> NoReturn:
        raise NotOwner

    assert await database.transact(work) == 3
    with pytest.raises(NotOwner):
        await database.transact(refuse)


@pytest_twisted.ensureDeferred
async def test_own_changes(database: IDatabase) -> None:
    """Within a transaction each statement sees what those before it did."""

    async def work(transaction: ITransaction) -> list[int]:
        counts = []
        for name in ("a", "b"):
            await create(transaction, name)
            counts.append((await transaction.fetch(count_prefixes))[0][0])
        return counts

    assert await database.transact(work) == [1, 2]


@pytest_twisted.ensureDeferred
async def test_number_of_rows(database: IDatabase) -> None:
    """A change returns how many rows it touched, be it none."""

    async def work(transaction: ITransaction) -> list[int]:
        touched = [await create(transaction, name) for name in ("a", "b", "a")]
        return [*touched, await transaction.execute(delete_prefixes)]

    assert await database.transact(work) == [1, 1, 0, 2]


@pytest_twisted.ensureDeferred
async def test_several_at_once(database: IDatabase) -> None:
    """A statement of several parts does all, and returns what the last one does."""

    async def work(transaction: ITransaction) -> object:
        await create(transaction, "p", user_id=5)
        states = await lock_write_states(transaction, [ObjectName("p", "a")])
        used = await transaction.fetch(prefix_queries.storage_used, user_id=5)
        return states, used

    assert await database.transact(work) == ([WriteState(5, 0, None)], [(0,)])


@pytest_twisted.ensureDeferred
async def test_concurrency(database: IDatabase, other_database: IDatabase) -> None:
    """No transaction of many at once, on two nodes, is lost."""

    async def begin(transaction: ITransaction) -> None:
        await create(transaction, "p")
        await lock_write_states(transaction, [ObjectName("p", "a")])

    await database.transact(begin)

    async def work(transaction: ITransaction) -> int:
        return await transaction.execute(increase, by=1)

    results = await at_once(
        node.transact(work) for node in (database, other_database) * 30
    )
    assert results == [1] * 60
    assert await database.fetch(prefix_queries.storage_used, user_id=1) == [(60,)]


@pytest_twisted.ensureDeferred
async def test_queries_during_changes(database: IDatabase) -> None:
    """Queries and changes at the same time all succeed."""
    changes = [database.transact(creating(f"p{n}")) for n in range(30)]
    queries = [database.fetch(count_prefixes) for _ in range(30)]
    results = await at_once([*changes, *queries])
    assert not [result for result in results if isinstance(result, Exception)]
    assert await database.fetch(count_prefixes) == [(30,)]


@pytest_twisted.ensureDeferred
async def test_mistakes_are_no_outage(database: IDatabase) -> None:
    """A statement that is wrong raises something other than Unavailable, and the
    database goes on."""
    errors = await at_once(
        [
            database.fetch(mistaken),
            database.transact(lambda transaction: transaction.fetch(mistaken)),
        ]
    )
    for error in errors:
        assert isinstance(error, Exception)
        assert not isinstance(error, Unavailable)
    assert await names(database) == []


@pytest_twisted.ensureDeferred
async def test_cancelled_waiting(database: IDatabase) -> None:
    """Who stops waiting for a transaction doesn't stop it, and nothing is logged."""
    with logged() as events:
        waiting = Deferred.fromCoroutine(database.transact(creating("a")))
        waiting.cancel()
        with pytest.raises(CancelledError):
            await waiting
        while not await names(database):
            pass
        await database.transact(creating("b"))
    assert await names(database) == ["a", "b"]
    assert tracebacks(events) == []


@pytest_twisted.ensureDeferred
async def test_check(database: IDatabase) -> None:
    """A migrated database that answers is all right."""
    await database.check()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("revision", [None, "aa3320db4c7f"])
async def test_not_migrated(empty_dsn: Callable[[], str], revision: str | None) -> None:
    """A database that is not migrated is unavailable, and the reason says what
    to do without saying where it is."""
    dsn = empty_dsn()
    if revision:
        upgrade(dsn, revision)
    database = database_at(dsn)
    await database.start()
    for attempt in (
        database.check(),
        database.fetch(change_queries.write_states, names="[]"),
        database.transact(creating("a")),
    ):
        with pytest.raises(Unavailable) as caught:
            await attempt
        assert "run: qabel-block migrate" in caught.value.reason
        assert HEAD in caught.value.reason
        assert caught.value.dependency == "database"
        assert dsn not in str(caught.value)
    upgrade(dsn)
    await database.check()
    await database.close()
