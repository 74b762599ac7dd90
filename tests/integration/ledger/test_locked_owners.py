"""Owners whose rows in ``users`` another transaction has locked (PostgreSQL)."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from qabel_block.errors import RowLocked
from qabel_block.ledger import change_queue
from qabel_block.ledger.ledger import Ledger
from qabel_block.model import Change
from tests.integration.ledger.support import (
    OWNER,
    P,
    allow,
    at_once,
    name,
    noted,
    overwrite,
    upload,
)
from tests.support.database import query

pytestmark = pytest.mark.parametrize("kind", ["postgresql"], indirect=True)

OTHERS = range(100, 106)


def of(user_id: int) -> str:
    return f"prefix-{user_id}"


@pytest_twisted.async_fixture
async def ledger(ledger: Ledger) -> Ledger:
    """A ledger with an object of one owner, and a prefix for each of the others."""
    await ledger.create_prefix(OWNER, P)
    await upload(ledger, name("a"), 10)
    for user_id in OTHERS:
        await ledger.create_prefix(user_id, of(user_id))
    return ledger


@pytest.fixture
def holder(ledger: Ledger, dsn: str) -> Iterator[Any]:
    """A transaction that is left open after a change to the owner's row."""
    with closing(psycopg2.connect(dsn)) as connection:
        connection.cursor().execute(
            f"UPDATE users SET size = size WHERE user_id = {OWNER}"
        )
        yield connection


def start(awaitable: Awaitable[Any]) -> Deferred[Any]:
    async def wait() -> Any:
        return await awaitable

    return Deferred.fromCoroutine(wait())


@pytest_twisted.ensureDeferred
async def test_others_go_on(ledger: Ledger, holder: Any, dsn: str) -> None:
    """While one owner is locked, others' uploads and deletions go through, also those
    of the same batch; the locked owner's are made once the lock is gone."""
    mine = [start(overwrite(ledger, name(path), 20)) for path in "abcdefghijkl"]
    mine.append(start(ledger.delete(name("a"), allow)))
    for _ in range(3):
        theirs = await at_once(
            overwrite(ledger, name("x", of(user_id)), 5) for user_id in OTHERS
        )
        assert [type(outcome) for outcome in theirs] == [Change] * len(OTHERS)
        deleted = await ledger.delete(name("x", of(OTHERS[0])), allow)
        assert deleted == Change(OTHERS[0], -5)
    assert not any(deferred.called for deferred in mine)
    holder.rollback()
    for deferred in mine:
        assert isinstance(await deferred, Change)
    total = query(dsn, f"SELECT sum(size) FROM objects WHERE prefix = '{P}'")
    assert query(dsn, f"SELECT size FROM users WHERE user_id = {OWNER}") == total


@pytest_twisted.ensureDeferred
async def test_more_locked_owners_than_connections(ledger: Ledger, holder: Any) -> None:
    """Many locked owners take no connection from the others."""
    holder.cursor().execute(
        "INSERT INTO users (user_id) SELECT generate_series(1000, 1030)"
    )
    holder.commit()
    for user_id in range(1000, 1030):
        await ledger.create_prefix(user_id, of(user_id))
    holder.cursor().execute("SELECT FROM users WHERE user_id >= 1000 FOR UPDATE")
    locked = [
        start(overwrite(ledger, name("x", of(user_id)), 1))
        for user_id in range(1000, 1030)
    ]
    assert await overwrite(ledger, name("x", of(OTHERS[0])), 5) == Change(OTHERS[0], 5)
    assert not any(deferred.called for deferred in locked)
    holder.rollback()
    assert [(await deferred).grown for deferred in locked] == [1] * 30


@pytest_twisted.ensureDeferred
async def test_waiting_has_an_end(
    ledger: Ledger, holder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits too long for a locked owner is told so, and nothing has changed."""
    monkeypatch.setattr(change_queue, "WAIT_SECONDS", 0.0)
    with pytest.raises(RowLocked, match="lock"):
        await overwrite(ledger, name("a"), 20)
    assert await ledger.storage_used(OWNER) == 10
    holder.rollback()
    assert await overwrite(ledger, name("a"), 20) == Change(OWNER, 10)


@pytest_twisted.ensureDeferred
async def test_sees_what_it_waited_for(
    ledger: Ledger, other_ledger: Ledger, holder: Any, dsn: str
) -> None:
    """A change that waited decides on what the other transaction left."""
    blob = await noted(ledger, name("b"), 7)
    seen: list[int] = []
    waiting = start(
        other_ledger.commit_upload(
            name("b"), blob, lambda state: seen.append(state.used), None
        )
    )
    await ledger.storage_used(OWNER)
    while not query(
        dsn, "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    ):
        await ledger.storage_used(OWNER)
    holder.cursor().execute("UPDATE users SET size = 40 WHERE user_id = %s", (OWNER,))
    holder.commit()
    assert await waiting == Change(OWNER, 7)
    assert seen == [40]
    assert await ledger.storage_used(OWNER) == 47


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO users (user_id) VALUES (1000)",
        "SELECT FROM objects WHERE prefix = 'prefix-1000' FOR UPDATE",
    ],
)
@pytest_twisted.ensureDeferred
async def test_other_rows(
    ledger: Ledger, holder: Any, dsn: str, statement: str
) -> None:
    """Others' changes go through, too, while another row of an owner is locked."""
    await ledger.create_prefix(1000, of(1000))
    if "objects" in statement:
        await upload(ledger, name("a", of(1000)), 5)
    await upload(ledger, name("a", of(OTHERS[0])), 5)
    holder.rollback()
    holder.cursor().execute(statement)
    locked = [start(overwrite(ledger, name("a", of(1000)), 20)) for _ in range(2)]
    # These share batches with them.
    for _ in range(3):
        theirs = await at_once(
            overwrite(ledger, name("x", of(user_id)), 5) for user_id in OTHERS
        )
        assert [type(outcome) for outcome in theirs] == [Change] * len(OTHERS)
    assert not any(deferred.called for deferred in locked)
    holder.rollback()
    for deferred in locked:
        assert isinstance(await deferred, Change)
    assert await ledger.storage_used(1000) == 20
