"""Many changes at once, from two nodes: each is made as if it were alone."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import pytest
import pytest_twisted

from qabel_block.errors import PreconditionFailed, QuotaReached
from qabel_block.ledger.ledger import Ledger
from qabel_block.model import Change, ObjectName, WriteState
from tests.integration.ledger.conftest import KINDS, PARTITIONED
from tests.integration.ledger.support import (
    OTHER,
    OWNER,
    P,
    Q,
    allow,
    at_once,
    name,
    noted,
    overwrite,
    upload,
)
from tests.support.database import query

pytestmark = pytest.mark.parametrize("kind", [*KINDS, PARTITIONED], indirect=True)


@pytest_twisted.async_fixture
async def ledgers(ledger: Ledger, other_ledger: Ledger) -> tuple[Ledger, Ledger]:
    """Two nodes, and a prefix for each of two users."""
    await ledger.create_prefix(OWNER, P)
    await ledger.create_prefix(OTHER, Q)
    return ledger, other_ledger


async def sizes_are_sums(dsn: str) -> bool:
    """Say whether every user's size is the sum of the user's objects."""
    sizes = query(dsn, "SELECT user_id, size FROM users ORDER BY user_id")
    sums = query(
        dsn,
        "SELECT user_id, sum(objects.size) FROM objects"
        " JOIN prefixes ON prefixes.name = objects.prefix"
        " GROUP BY user_id ORDER BY user_id",
    )
    return {user: size for user, size in sizes if size} == {
        user: int(size) for user, size in sums if size
    }


@pytest_twisted.ensureDeferred
async def test_one_writer_wins(ledgers: tuple[Ledger, Ledger], dsn: str) -> None:
    """Of many writers who hold the same ETag exactly one changes the object."""
    before = await upload(ledgers[0], name("a"))
    for _ in range(5):
        etag = before.etag

        def if_match(state: WriteState, etag: str = etag) -> None:
            if state.etag != etag:
                raise PreconditionFailed(state.etag)

        blobs = [await noted(ledgers[0], name("a"), size) for size in range(12)]
        outcomes = await at_once(
            ledgers[number % 2].commit_upload(name("a"), blob, if_match, None)
            for number, blob in enumerate(blobs)
        )
        won = [n for n, result in enumerate(outcomes) if isinstance(result, Change)]
        assert len(won) == 1
        before = blobs[won[0]]
        for outcome in outcomes[: won[0]] + outcomes[won[0] + 1 :]:
            assert isinstance(outcome, PreconditionFailed)
            assert outcome.etag == before.etag
        state = await ledgers[1].write_state(name("a"))
        assert state is not None
        assert state.etag == before.etag
    assert await sizes_are_sums(dsn)


@pytest_twisted.ensureDeferred
async def test_create_only_once(ledgers: tuple[Ledger, Ledger], dsn: str) -> None:
    """Of many who create what isn't there yet exactly one does."""

    def if_none(state: WriteState) -> None:
        if state.current is not None:
            raise PreconditionFailed(state.etag)

    blobs = [await noted(ledgers[0], name("a"), size) for size in range(12)]
    outcomes = await at_once(
        ledgers[number % 2].commit_upload(name("a"), blob, if_none, None)
        for number, blob in enumerate(blobs)
    )
    assert sum(isinstance(outcome, Change) for outcome in outcomes) == 1
    assert sum(isinstance(o, PreconditionFailed) for o in outcomes) == 11
    assert await sizes_are_sums(dsn)


@pytest_twisted.ensureDeferred
async def test_delete_only_once(ledgers: tuple[Ledger, Ledger]) -> None:
    """Of many who delete an object exactly one frees its space."""
    await upload(ledgers[0], name("a"), 10)
    outcomes = await at_once(ledgers[n % 2].delete(name("a"), allow) for n in range(12))
    assert outcomes.count(Change(OWNER, -10)) == 1
    assert outcomes.count(None) == 11
    assert await ledgers[0].storage_used(OWNER) == 0


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("fits", [1, 7, 20])
async def test_quota_is_exact(
    ledgers: tuple[Ledger, Ledger], dsn: str, fits: int
) -> None:
    """Of uploads at once exactly as many are allowed as the quota has room for."""
    quota = fits * 10 + 9

    def within_quota(state: WriteState) -> None:
        if state.used + 10 > quota:
            raise QuotaReached

    names = [name(f"blocks/{number}") for number in range(20)]
    blobs = [await noted(ledgers[0], name, 10) for name in names]
    outcomes = await at_once(
        ledgers[n % 2].commit_upload(names[n], blobs[n], within_quota, None)
        for n in range(20)
    )
    assert outcomes.count(Change(OWNER, 10)) == fits
    assert sum(isinstance(outcome, QuotaReached) for outcome in outcomes) == 20 - fits
    assert await ledgers[1].storage_used(OWNER) == fits * 10
    assert await sizes_are_sums(dsn)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("seed", range(3))
async def test_size_is_the_sum(
    ledgers: tuple[Ledger, Ledger], dsn: str, seed: int
) -> None:
    """After any uploads and deletions at once each user's size is the sum of the
    user's objects, and what the changes said they did adds up to it."""
    chance = random.Random(seed)
    names = [name(path, prefix) for path in "abc" for prefix in (P, Q)]

    def step(number: int) -> Awaitable[Change | None]:
        ledger, where = ledgers[number % 2], chance.choice(names)
        if chance.random() < 0.3:
            return ledger.delete(where, allow)
        return overwrite(ledger, where, chance.randrange(1000))

    outcomes = await at_once([step(number) for number in range(80)])
    assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    assert await sizes_are_sums(dsn)
    for user in (OWNER, OTHER):
        grown = sum(
            outcome.grown
            for outcome in outcomes
            if isinstance(outcome, Change) and outcome.owner_id == user
        )
        assert await ledgers[0].storage_used(user) == grown


@pytest_twisted.ensureDeferred
async def test_garbage_is_all_the_rest(
    ledgers: tuple[Ledger, Ledger], dsn: str
) -> None:
    """After uploads and deletions at once every blob is either an object's or
    garbage, never both."""
    names = [name(path) for path in "ab"]
    blobs = [(where, await noted(ledgers[0], where)) for where in names * 10]
    changes: list[Awaitable[object]] = [
        ledgers[n % 2].commit_upload(where, blob, allow, None)
        for n, (where, blob) in enumerate(blobs)
    ]
    changes += [ledgers[n % 2].delete(names[n % 2], allow) for n in range(10)]
    random.Random(5).shuffle(changes)
    await at_once(changes)
    objects = {key for (key,) in query(dsn, "SELECT blob_key FROM objects")}
    garbage = {key for (key,) in query(dsn, "SELECT blob_key FROM garbage")}
    assert not objects & garbage
    assert objects | garbage == {blob.blob_key for _, blob in blobs}


@pytest_twisted.ensureDeferred
async def test_claims_at_once(ledgers: tuple[Ledger, Ledger], dsn: str) -> None:
    """A prefix that several users write below first, at once and beside their own
    other uploads, becomes one user's, and no upload fails."""

    def writes(user_id: int) -> list[Callable[[], Awaitable[Change]]]:
        ledger = ledgers[user_id % 2]

        async def write(where: ObjectName) -> Change:
            blob = await noted(ledger, where, 10)
            return await ledger.commit_upload(where, blob, allow, user_id)

        own, shared = name("a", f"own-{user_id}"), name(f"{user_id}", "shared")
        return [lambda: write(own), lambda: write(shared), lambda: write(own)]

    outcomes = await at_once(
        write() for user_id in range(20, 26) for write in writes(user_id)
    )
    assert [o for o in outcomes if not isinstance(o, Change)] == []
    shared = [o.owner_id for o in outcomes[1::3] if isinstance(o, Change)]
    assert len(set(shared)) == 1
    assert await ledgers[0].storage_used(shared[0]) == 10 + 6 * 10
    assert await sizes_are_sums(dsn)
