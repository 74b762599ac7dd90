"""The collector, on a real ledger."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from functools import partial
from typing import cast

import psycopg2
import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import formatEvent

from qabel_block.errors import StorageFull, Unavailable
from qabel_block.interfaces import IStorageBackend
from qabel_block.ledger.ledger import Ledger
from qabel_block.operations import collector as module
from qabel_block.operations.collector import CollectedGarbage, Collector
from qabel_block.util.budget import REQUEST_SECONDS, Budget, spending
from tests.integration.ledger.support import (
    OTHER,
    OWNER,
    P,
    Q,
    age_garbage,
    allow,
    at_once,
    logged,
    name,
    noted,
    tracebacks,
    upload,
    waiting_for_locks,
)
from tests.support.clocks import running, until
from tests.support.database import query

GRACE = 3600.0
INTERVAL = 60.0


class Blobs:
    """A storage's part that collectors need, which can be told to fail.

    :ivar deleted: the keys of each call.
    :ivar failure: raised instead, if there is one.
    :ivar stuck: keys that can't be deleted.
    :ivar gate: awaited before anything is deleted, if there is one.
    """

    def __init__(self) -> None:
        self.deleted: list[list[str]] = []
        self.failure: Exception | None = None
        self.gate: Deferred[None] | None = None
        self.stuck: set[str] = set()
        self.calls = 0

    async def delete(self, keys: Sequence[str]) -> dict[str, str]:
        self.calls += 1
        if self.gate is not None:
            await self.gate
        if self.failure is not None:
            raise self.failure
        self.deleted.append([key for key in keys if key not in self.stuck])
        return {key: "not permitted" for key in keys if key in self.stuck}

    @property
    def keys(self) -> list[str]:
        return sorted(key for keys in self.deleted for key in keys)


@pytest.fixture
def blobs() -> Blobs:
    return Blobs()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest_twisted.async_fixture
async def ledger(ledger: Ledger) -> Ledger:
    """A ledger with a prefix."""
    await ledger.create_prefix(OWNER, P)
    return ledger


@pytest.fixture
def collector(ledger: Ledger, blobs: Blobs, clock: Clock) -> Collector:
    return collecting(ledger, blobs, clock)


def collecting(ledger: Ledger, blobs: Blobs, clock: Clock) -> Collector:
    return Collector(ledger, cast(IStorageBackend, blobs), clock, GRACE, INTERVAL)


def pausing(clock: Clock) -> bool:
    """Say whether there is a timer beside that of the request."""
    return len(clock.getDelayedCalls()) > 1


async def settled(collector: Collector) -> None:
    """Wait for the round that has begun."""
    await collector.collect(grace=10 * GRACE)


async def garbage(ledger: Ledger, number: int) -> list[str]:
    return sorted([(await noted(ledger, name("a"))).blob_key for _ in range(number)])


@pytest_twisted.ensureDeferred
async def test_old_and_young(
    collector: Collector, ledger: Ledger, blobs: Blobs, dsn: str
) -> None:
    """Old garbage is deleted and forgotten; young garbage and objects stay."""
    old = await garbage(ledger, 3)
    await upload(ledger, name("b"))
    age_garbage(dsn, GRACE)
    (young,) = await garbage(ledger, 1)
    assert await collector.collect() == CollectedGarbage(3, 0)
    assert blobs.keys == old
    assert query(dsn, "SELECT blob_key FROM garbage") == [(young,)]
    assert await collector.collect() == CollectedGarbage(0, 0)
    age_garbage(dsn, module.PENDING_SECONDS)
    assert await collector.collect(grace=0) == CollectedGarbage(1, 0)
    assert blobs.keys == sorted([*old, young])


@pytest_twisted.ensureDeferred
async def test_uploads_are_spared(
    collector: Collector, ledger: Ledger, blobs: Blobs, dsn: str
) -> None:
    """Without a grace period what was replaced is deleted at once, but not a blob that
    may be about to be committed."""
    replaced = await upload(ledger, name("a"))
    await upload(ledger, name("a"))
    pending = await noted(ledger, name("b"))
    assert await collector.collect(grace=0) == CollectedGarbage(1, 0)
    await ledger.commit_upload(name("b"), pending, allow, None)
    given_up = await noted(ledger, name("b"))
    age_garbage(dsn, module.PENDING_SECONDS)
    assert await collector.collect(grace=0) == CollectedGarbage(1, 0)
    assert blobs.keys == sorted([replaced.blob_key, given_up.blob_key])


@pytest_twisted.ensureDeferred
async def test_batches(
    collector: Collector,
    ledger: Ledger,
    blobs: Blobs,
    dsn: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A round goes on, batch by batch, until there is no more."""
    monkeypatch.setattr(module, "BATCH", 3)
    keys = await garbage(ledger, 7)
    age_garbage(dsn, module.PENDING_SECONDS)
    assert await collector.collect(grace=0) == CollectedGarbage(7, 0)
    assert [len(batch) for batch in blobs.deleted] == [3, 3, 1]
    assert blobs.keys == keys


@pytest_twisted.ensureDeferred
async def test_rounds(
    collector: Collector, ledger: Ledger, blobs: Blobs, clock: Clock, dsn: str
) -> None:
    """Once started it collects at once and then at every interval, until it is
    stopped."""
    first = await garbage(ledger, 1)
    age_garbage(dsn, GRACE)
    collector.start()
    await settled(collector)
    assert blobs.keys == first
    second = await garbage(ledger, 1)
    age_garbage(dsn, GRACE)
    clock.advance(INTERVAL - 1)
    await settled(collector)
    assert blobs.keys == first
    clock.advance(1)
    await settled(collector)
    assert blobs.keys == sorted([*first, *second])
    await collector.stop()
    assert clock.getDelayedCalls() == []


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "failure", [Unavailable("storage", "it is down"), StorageFull("no room")]
)
async def test_storage_down(
    collector: Collector,
    ledger: Ledger,
    blobs: Blobs,
    clock: Clock,
    failure: Exception,
    dsn: str,
) -> None:
    """When storage fails that is one line in the log, the garbage stays noted, and
    later rounds delete it."""
    keys = await garbage(ledger, 2)
    age_garbage(dsn, GRACE)
    blobs.failure = failure
    with logged() as events:
        collector.start()
        await settled(collector)
    assert tracebacks(events) == []
    (line,) = [event for event in events if "collector" in event["log_namespace"]]
    assert line["log_level"].name == "warn"
    assert str(failure) in str(formatEvent(line))
    assert blobs.deleted == []
    blobs.failure = None
    age_garbage(dsn, GRACE)
    clock.advance(INTERVAL)
    await settled(collector)
    assert blobs.keys == keys
    await collector.stop()


@pytest_twisted.ensureDeferred
async def test_mistakes_do_not_end_it(
    collector: Collector, ledger: Ledger, blobs: Blobs, clock: Clock, dsn: str
) -> None:
    """An error nobody thought of is logged with its traceback, and the next round
    takes place."""
    keys = await garbage(ledger, 1)
    age_garbage(dsn, GRACE)
    blobs.failure = RuntimeError("a mistake")
    with logged() as events:
        collector.start()
        await settled(collector)
    assert len(tracebacks(events)) == 1
    blobs.failure = None
    age_garbage(dsn, GRACE)
    clock.advance(INTERVAL)
    await settled(collector)
    assert blobs.keys == keys
    await collector.stop()


@pytest_twisted.ensureDeferred
async def test_failure_is_passed_on(
    collector: Collector, ledger: Ledger, blobs: Blobs, dsn: str
) -> None:
    """Who asks for a round is told that it failed."""
    await garbage(ledger, 1)
    age_garbage(dsn, GRACE)
    blobs.failure = Unavailable("storage", "it is down")
    with pytest.raises(Unavailable):
        await collector.collect(grace=0)


@pytest_twisted.ensureDeferred
async def test_one_round_at_a_time(
    collector: Collector, ledger: Ledger, blobs: Blobs, clock: Clock, dsn: str
) -> None:
    """No round begins while another is under way, however long that takes."""
    await garbage(ledger, 1)
    age_garbage(dsn, GRACE)
    blobs.gate = Deferred()
    collector.start()
    while not blobs.calls:
        await ledger.storage_used(OWNER)
    await garbage(ledger, 1)
    age_garbage(dsn, GRACE)
    second = Deferred.fromCoroutine(collector.collect(grace=0))
    age_garbage(dsn, GRACE)
    clock.advance(5 * INTERVAL)
    await ledger.storage_used(OWNER)
    assert blobs.calls == 1
    assert not second.called
    blobs.gate.callback(None)
    await second
    assert len(blobs.keys) == 2
    await collector.stop()


@pytest_twisted.ensureDeferred
async def test_stop_waits(
    collector: Collector,
    ledger: Ledger,
    blobs: Blobs,
    dsn: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Stopping waits for the batch under way, and no further batch begins."""
    monkeypatch.setattr(module, "BATCH", 2)
    await garbage(ledger, 3)
    age_garbage(dsn, GRACE)
    blobs.gate = Deferred()
    collector.start()
    while not blobs.calls:
        await ledger.storage_used(OWNER)
    stopping = Deferred.fromCoroutine(collector.stop())
    assert not stopping.called
    blobs.gate.callback(None)
    await stopping
    assert len(blobs.keys) == 2
    assert len(query(dsn, "SELECT blob_key FROM garbage")) == 1


@pytest_twisted.ensureDeferred
async def test_stop_without_start(collector: Collector) -> None:
    """What was never started can be stopped, and so can what is stopped."""
    await collector.stop()
    collector.start()
    await collector.stop()
    await collector.stop()


@pytest_twisted.ensureDeferred
async def test_two_nodes(
    ledger: Ledger,
    other_ledger: Ledger,
    blobs: Blobs,
    clock: Clock,
    dsn: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two nodes that collect at the same time delete each blob once."""
    monkeypatch.setattr(module, "BATCH", 4)
    keys = await garbage(ledger, 30)
    age_garbage(dsn, GRACE)
    nodes = [collecting(node, blobs, clock) for node in (ledger, other_ledger)]
    counts = await at_once(node.collect() for node in nodes)
    assert sum(c.deleted for c in counts if isinstance(c, CollectedGarbage)) == 30
    assert blobs.keys == keys
    assert query(dsn, "SELECT blob_key FROM garbage") == []


@pytest_twisted.ensureDeferred
async def test_blob_that_stays(
    collector: Collector, ledger: Ledger, blobs: Blobs, dsn: str
) -> None:
    """A blob that can't be deleted keeps no other from being deleted, and is tried
    again in a later round; the log says so."""
    keys = await garbage(ledger, 5)
    age_garbage(dsn, GRACE)
    blobs.stuck = {keys[2]}
    with logged() as events:
        assert await collector.collect(grace=0) == CollectedGarbage(4, 1)
    assert query(dsn, "SELECT blob_key FROM garbage") == [(keys[2],)]
    assert events
    assert all("not permitted" in formatEvent(event) for event in events)
    blobs.stuck = set()
    age_garbage(dsn, GRACE)
    assert await collector.collect(grace=0) == CollectedGarbage(1, 0)
    assert blobs.keys == keys
    assert query(dsn, "SELECT blob_key FROM garbage") == []


async def replaced(
    ledger: Ledger, path: str, sizes: list[int], prefix: str = P
) -> None:
    """Store an object in several sizes; all but the last become garbage."""
    for size in sizes:
        await upload(ledger, name(path, prefix), size)


@pytest_twisted.ensureDeferred
async def test_room(
    collector: Collector, ledger: Ledger, blobs: Blobs, dsn: str
) -> None:
    """To make room, the oldest of one owner's garbage is deleted, however young it is,
    and no more than needed."""
    await ledger.create_prefix(OTHER, Q)
    await replaced(ledger, "a", [10, 10, 10, 10, 10])
    await replaced(ledger, "b", [10, 10], Q)
    pending = await noted(ledger, name("c"))
    oldest = query(
        dsn, f"SELECT blob_key FROM garbage WHERE owner_id = {OWNER} ORDER BY since"
    )[:2]
    await collector.collect_owner(OWNER, 15)
    assert blobs.keys == sorted(key for (key,) in oldest)
    assert query(dsn, f"SELECT garbage FROM users WHERE user_id = {OWNER}") == [(20,)]
    left = {key for (key,) in query(dsn, "SELECT blob_key FROM garbage")}
    assert pending.blob_key in left
    assert len(left) == 4
    await collector.collect_owner(OWNER, 1000)
    assert len(blobs.keys) == 4


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
async def test_locked_owner(
    collector: Collector, ledger: Ledger, blobs: Blobs, dsn: str
) -> None:
    """What is deleted of an owner whose row is locked is forgotten as soon as it is
    free, and what an owner has leaves room at once."""
    for collect in (
        lambda: collector.collect(grace=0),
        lambda: collector.collect_owner(OWNER, 10),
    ):
        await replaced(ledger, "a", [10, 10])
        with closing(psycopg2.connect(dsn)) as holder:
            holder.cursor().execute("SELECT FROM users FOR UPDATE")
            collecting = running(collect())
            await until(partial(waiting_for_locks, dsn))
            assert not collecting.called
            holder.rollback()
            await collecting
        assert query(dsn, "SELECT blob_key FROM garbage") == []
        assert query(dsn, "SELECT garbage FROM users") == [(0,)]
        await ledger.delete(name("a"), allow)
        await collector.collect(grace=0)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
async def test_owner_who_stays_locked(
    collector: Collector, ledger: Ledger, blobs: Blobs, dsn: str
) -> None:
    """An owner who is locked for long keeps no other's garbage from being forgotten,
    and the owner's own is collected once more."""
    await ledger.create_prefix(OTHER, Q)
    await replaced(ledger, "a", [10, 10])
    (key,) = query(dsn, "SELECT blob_key FROM garbage")[0]
    await replaced(ledger, "b", [10, 10], Q)
    with closing(psycopg2.connect(dsn)) as holder:
        holder.cursor().execute(f"SELECT FROM users WHERE user_id = {OWNER} FOR UPDATE")
        assert await collector.collect(grace=0) == CollectedGarbage(1, 0)
        assert query(dsn, "SELECT blob_key FROM garbage") == [(key,)]
        holder.rollback()
    await collector.collect_owner(OWNER, 10)
    assert query(dsn, "SELECT blob_key FROM garbage") == []


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("failure", [None, Unavailable("storage", "it is down")])
async def test_room_after_a_failure(
    collector: Collector,
    ledger: Ledger,
    blobs: Blobs,
    clock: Clock,
    failure: Exception | None,
    dsn: str,
) -> None:
    """Garbage that can't be deleted leaves room as soon as it can be again."""
    await replaced(ledger, "a", [10, 10])
    keys = [key for (key,) in query(dsn, "SELECT blob_key FROM garbage")]
    blobs.stuck = set(keys)
    blobs.failure = failure
    failing = running(collector.collect_owner(OWNER, 10))
    failing.addErrback(lambda reason: reason.trap(Unavailable))
    await until(lambda: failing.called or pausing(clock))
    clock.advance(module.PAUSE_SECONDS)
    await failing
    blobs.stuck = set()
    blobs.failure = None
    await collector.collect_owner(OWNER, 10)
    assert blobs.keys == keys
    assert query(dsn, "SELECT blob_key FROM garbage") == []


@pytest_twisted.ensureDeferred
async def test_room_that_others_make(
    collector: Collector, ledger: Ledger, other_ledger: Ledger, clock: Clock
) -> None:
    """While others delete an owner's garbage, whoever needs room waits a moment."""
    await replaced(ledger, "a", [10, 10])
    assert await other_ledger.claim_owner_garbage(OWNER, 10)
    waiting = Deferred.fromCoroutine(collector.collect_owner(OWNER, 10))
    while not pausing(clock):
        await ledger.storage_used(OWNER)
    assert not waiting.called
    clock.advance(module.PAUSE_SECONDS)
    await waiting


@pytest_twisted.ensureDeferred
async def test_room_on_a_storage_that_hangs(
    collector: Collector, ledger: Ledger, blobs: Blobs, clock: Clock, dsn: str
) -> None:
    """Requests that need room wait no longer than they may, all for the same deletion,
    whoever began it. It goes on by itself."""
    await replaced(ledger, "a", [10, 10])
    blobs.gate = Deferred()
    collector.schedule_collect_owner(OWNER, 10)
    with spending(Budget(clock, REQUEST_SECONDS)):
        waiting = [running(collector.collect_owner(OWNER, 10)) for _ in range(2)]
    await until(lambda: blobs.calls)
    clock.advance(REQUEST_SECONDS)
    for one in waiting:
        with pytest.raises(Unavailable, match="storage"):
            await one
    assert blobs.calls == 1
    stopping = running(collector.stop())
    assert not stopping.called
    blobs.gate.callback(None)
    await stopping
    assert query(dsn, "SELECT garbage FROM users") == [(0,)]


@pytest_twisted.ensureDeferred
async def test_room_without_waiting(
    collector: Collector, ledger: Ledger, blobs: Blobs, dsn: str
) -> None:
    """Room can be made without anybody waiting; a failure is one line in the log."""
    await replaced(ledger, "a", [10, 10, 10])
    collector.schedule_collect_owner(OWNER, 5)
    collector.schedule_collect_owner(OWNER, 5)
    while not blobs.deleted:
        await ledger.storage_used(OWNER)
    while query(dsn, f"SELECT garbage FROM users WHERE user_id = {OWNER}") != [(10,)]:
        await ledger.storage_used(OWNER)
    assert len(blobs.keys) == 1
    blobs.failure = Unavailable("storage", "it is down")
    with logged() as events:
        while not events:
            collector.schedule_collect_owner(OWNER, 5)
            await ledger.storage_used(OWNER)
    assert tracebacks(events) == []
