"""Garbage: what may be deleted, by whom, and what an upload that is late finds."""

from __future__ import annotations

from contextlib import closing
from typing import cast

import psycopg2
import pytest
import pytest_twisted

from qabel_block.errors import BlobCollected, RowLocked
from qabel_block.ledger.interfaces import IDatabase
from qabel_block.ledger.ledger import CLAIM_SECONDS, Ledger
from qabel_block.names import milliseconds_of
from tests.integration.ledger.support import (
    OTHER,
    OWNER,
    P,
    Q,
    age_garbage,
    allow,
    at_once,
    change,
    name,
    noted,
    overwrite,
    upload,
    waiting_for_locks,
)
from tests.support.clocks import running, until
from tests.support.database import query

GRACE = 3600.0


@pytest_twisted.async_fixture
async def ledger(ledger: Ledger) -> Ledger:
    """A ledger with a prefix."""
    await ledger.create_prefix(OWNER, P)
    return ledger


@pytest_twisted.ensureDeferred
async def test_old_garbage(ledger: Ledger, dsn: str) -> None:
    """What was replaced, deleted or never committed may be deleted once it is as
    old as the grace period, and not before."""
    replaced = await upload(ledger, name("a"))
    await upload(ledger, name("a"))
    deleted = await upload(ledger, name("b"))
    await ledger.delete(name("b"), allow)
    given_up = await noted(ledger, name("c"))
    age_garbage(dsn, GRACE - 1)
    assert await ledger.claim_garbage(GRACE, 10) == []
    age_garbage(dsn, 1)
    assert set(await ledger.claim_garbage(GRACE, 10)) == {
        blob.blob_key for blob in (replaced, deleted, given_up)
    }


@pytest_twisted.ensureDeferred
async def test_age_counts_from_the_replacement(ledger: Ledger, dsn: str) -> None:
    """A blob that was an object's for long is young garbage."""
    blob = await upload(ledger, name("a"))
    age_garbage(dsn, 10 * GRACE)
    await upload(ledger, name("a"))
    assert await ledger.claim_garbage(GRACE, 10) == []
    age_garbage(dsn, GRACE)
    assert await ledger.claim_garbage(GRACE, 10) == [blob.blob_key]


@pytest_twisted.ensureDeferred
async def test_oldest_first(ledger: Ledger) -> None:
    """A limited claim takes what has been garbage for longest."""
    keys = [(await noted(ledger, name("a"))).blob_key for _ in range(5)]
    assert await ledger.claim_garbage(0, 2) == keys[:2]
    assert await ledger.claim_garbage(0, 2) == keys[2:4]


@pytest_twisted.ensureDeferred
async def test_claimed_once(ledger: Ledger, other_ledger: Ledger, dsn: str) -> None:
    """Nobody else gets what is claimed, until the grace period is over again;
    what is forgotten is never claimed again."""
    lost = (await noted(ledger, name("a"))).blob_key
    done = (await noted(ledger, name("b"))).blob_key
    age_garbage(dsn, GRACE)
    assert await ledger.claim_garbage(GRACE, 10) == [lost, done]
    assert await other_ledger.claim_garbage(GRACE, 10) == []
    await ledger.forget_garbage([done])
    age_garbage(dsn, GRACE)
    assert await other_ledger.claim_garbage(GRACE, 10) == [lost]


@pytest_twisted.ensureDeferred
async def test_forgetting(ledger: Ledger, dsn: str) -> None:
    """Forgetting what isn't noted, or nothing, is fine."""
    blob = await noted(ledger, name("a"))
    await ledger.forget_garbage([])
    await ledger.forget_garbage(["p/a~00000000000000000000000000"])
    assert query(dsn, "SELECT blob_key FROM garbage") == [(blob.blob_key,)]


@pytest_twisted.ensureDeferred
async def test_counting(ledger: Ledger, dsn: str) -> None:
    """What is noted is counted, up to a limit, and by its age."""
    assert await ledger.garbage(0, 10) == 0
    for number in range(3):
        await noted(ledger, name(f"old-{number}"))
    age_garbage(dsn, GRACE)
    await noted(ledger, name("young"))
    assert await ledger.garbage(0, 10) == 4
    assert await ledger.garbage(0, 2) == 2
    assert await ledger.garbage(GRACE, 10) == 3


@pytest_twisted.ensureDeferred
async def test_late_commit(ledger: Ledger, dsn: str) -> None:
    """An upload whose blob was claimed in the meantime is not committed."""
    blob = await noted(ledger, name("a"))
    age_garbage(dsn, GRACE)
    assert await ledger.claim_garbage(GRACE, 10) == [blob.blob_key]
    with pytest.raises(BlobCollected):
        await ledger.commit_upload(name("a"), blob, allow, None)
    assert await ledger.storage_used(OWNER) == 0


@pytest_twisted.ensureDeferred
async def test_committed_or_claimed(ledger: Ledger, other_ledger: Ledger) -> None:
    """Of commits and claims at once, each blob gets one or the other."""
    names = [name(f"{number}") for number in range(20)]
    blobs = [await noted(ledger, name) for name in names]
    commits = [
        ledger.commit_upload(name, blob, allow, None)
        for name, blob in zip(names, blobs, strict=True)
    ]
    claims = [other_ledger.claim_garbage(0, 3) for _ in range(5)]
    mixed = [part for pair in zip(commits[::4], claims, strict=True) for part in pair]
    await at_once([*mixed, *(c for n, c in enumerate(commits) if n % 4)])
    claimed = set(await other_ledger.claim_garbage(0, 50))
    for name_, blob in zip(names, blobs, strict=True):
        state = await ledger.write_state(name_)
        assert state is not None
        assert (state.current is None) == (blob.blob_key in claimed)


@pytest_twisted.ensureDeferred
async def test_pointed_at(ledger: Ledger, dsn: str) -> None:
    """A note of a blob that an object points at is dropped, never claimed, and
    doesn't take the place of real garbage."""
    blobs = [await upload(ledger, name(f"{number}")) for number in range(4)]
    change(
        dsn,
        *(
            "INSERT INTO garbage (blob_key, since)"
            f" VALUES ('{blob.blob_key}', '1999-01-01T00:00:00.000000+00:00')"
            for blob in blobs
        ),
    )
    real = await noted(ledger, name("0"))
    assert await ledger.claim_garbage(0, 2) == [real.blob_key]
    assert query(dsn, "SELECT blob_key FROM garbage") == [(real.blob_key,)]


@pytest_twisted.ensureDeferred
async def test_legacy_blob(ledger: Ledger, dsn: str) -> None:
    """A blob of the legacy server, adopted in place, is garbage once its object is
    replaced, and not before."""
    key = f"{P}/blocks/a"
    await ledger.note_blob(key)
    change(
        dsn,
        "INSERT INTO objects (prefix, path, blob_key, size, etag, created)"
        f" SELECT '{P}', 'blocks/a', '{key}', 5, '\"1\"', since FROM garbage",
        f"INSERT INTO users (user_id, size) VALUES ({OWNER}, 5)",
    )
    assert await ledger.claim_garbage(0, 10) == []
    await upload(ledger, name("blocks/a"))
    assert await ledger.storage_used(OWNER) == 10
    assert await ledger.claim_garbage(0, 10) == [key]


@pytest_twisted.ensureDeferred
async def test_no_blob_key(ledger: Ledger, dsn: str) -> None:
    """A note that names no possible blob is dropped, and the rest claimed."""
    for key in ("../etc/passwd", "p", "p/a~b", ""):
        await ledger.note_blob(key)
    real = await noted(ledger, name("a"))
    assert await ledger.claim_garbage(0, 10) == [real.blob_key]
    assert query(dsn, "SELECT blob_key FROM garbage") == [(real.blob_key,)]


@pytest_twisted.ensureDeferred
async def test_claims_at_once(ledger: Ledger, other_ledger: Ledger, dsn: str) -> None:
    """Nodes that claim at the same time share all garbage and overlap in none."""
    keys = {(await noted(ledger, name("a"))).blob_key for _ in range(40)}
    age_garbage(dsn, GRACE)
    outcomes = await at_once(
        (ledger, other_ledger)[n % 2].claim_garbage(GRACE, 5) for n in range(12)
    )
    rest = await ledger.claim_garbage(GRACE, 50)
    claims = [cast(list[str], claimed) for claimed in outcomes]
    claimed = [key for keys in (*claims, rest) for key in keys]
    assert len(claimed) == len(keys)
    assert set(claimed) == keys


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
async def test_commit_under_way(ledger: Ledger, dsn: str) -> None:
    """A claim passes by the note that a commit holds, without waiting for it."""
    held = await noted(ledger, name("a"))
    free = await noted(ledger, name("b"))
    connection = psycopg2.connect(dsn)
    try:
        connection.cursor().execute(
            "DELETE FROM garbage WHERE blob_key = %s", (held.blob_key,)
        )
        assert await ledger.claim_garbage(0, 10) == [free.blob_key]
    finally:
        connection.close()


def sums(dsn: str) -> dict[int, int]:
    """Return the bytes of garbage of each owner who has any."""
    rows = query(dsn, "SELECT user_id, garbage FROM users WHERE garbage <> 0")
    return dict(rows)


def added_up(dsn: str) -> dict[int, int]:
    rows = query(
        dsn,
        "SELECT owner_id, sum(size) FROM garbage WHERE owner_id IS NOT NULL"
        " GROUP BY owner_id",
    )
    return {owner_id: int(bytes_) for owner_id, bytes_ in rows if bytes_}


@pytest_twisted.ensureDeferred
async def test_bytes_of_garbage(ledger: Ledger, dsn: str) -> None:
    """What an owner's garbage takes is kept exactly: what was replaced or deleted
    counts until it is forgotten, what never was an object does not."""
    await ledger.create_prefix(OTHER, Q)
    for size in (10, 20, 30):
        await upload(ledger, name("a"), size)
        await upload(ledger, name("b", Q), size)
    await ledger.delete(name("b", Q), allow)
    await noted(ledger, name("c"), 1000)
    assert sums(dsn) == added_up(dsn) == {OWNER: 30, OTHER: 60}
    state = await ledger.write_state(name("new"))
    assert state is not None
    assert state.garbage == 30
    (first, second, *_) = await ledger.claim_garbage(0, 2)
    assert sums(dsn) == {OWNER: 30, OTHER: 60}
    await ledger.forget_garbage([first])
    await ledger.forget_garbage([first, second])
    assert sums(dsn) == added_up(dsn) == {OWNER: 20, OTHER: 50}


@pytest_twisted.ensureDeferred
async def test_bytes_of_garbage_at_once(
    ledger: Ledger, other_ledger: Ledger, dsn: str
) -> None:
    """Nodes that change and collect at the same time keep the sums exact."""
    nodes = (ledger, other_ledger)

    async def collect(node: Ledger) -> None:
        for _ in range(5):
            await node.forget_garbage(await node.claim_garbage(0, 3))

    changes = [overwrite(nodes[n % 2], name("ab"[n % 2]), n) for n in range(40)]
    deletions = [nodes[n % 2].delete(name("ab"[n % 2]), allow) for n in range(6)]
    outcomes = await at_once([*changes, *deletions, *map(collect, nodes)])
    failed = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    # With no grace period the collector takes what is not committed yet.
    assert all(isinstance(failure, BlobCollected) for failure in failed)
    assert sums(dsn) == added_up(dsn)


@pytest_twisted.ensureDeferred
async def test_forgotten_user(ledger: Ledger, dsn: str) -> None:
    """Notes of a user who is gone can be forgotten."""
    await upload(ledger, name("a"))
    await ledger.delete(name("a"), allow)
    change(dsn, f"DELETE FROM users WHERE user_id = {OWNER}")
    await ledger.forget_garbage(await ledger.claim_garbage(0, 10))
    assert query(dsn, "SELECT * FROM garbage") == []


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
async def test_forgetting_beside_a_locked_owner(ledger: Ledger, dsn: str) -> None:
    """The notes of an owner whom somebody else has locked stay, and whose they are is
    returned; others go."""
    await upload(ledger, name("a"))
    await ledger.delete(name("a"), allow)
    pending = await noted(ledger, name("b"))
    keys = await ledger.claim_garbage(0, 10)
    with closing(psycopg2.connect(dsn)) as holder:
        holder.cursor().execute("SELECT FROM users FOR UPDATE")
        locked = await ledger.forget_garbage(keys)
        left = [key for (key,) in query(dsn, "SELECT blob_key FROM garbage")]
        assert left == [key for key in keys if key != pending.blob_key]
        assert locked == {OWNER: left}
        holder.rollback()
    assert await ledger.forget_garbage(keys) == {}
    assert query(dsn, "SELECT * FROM garbage") == []
    assert sums(dsn) == {}


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
async def test_forgetting_waits_for_a_locked_owner(ledger: Ledger, dsn: str) -> None:
    """Who is told to wait for a locked owner waits, but not for long."""
    await upload(ledger, name("a"))
    await ledger.delete(name("a"), allow)
    keys = await ledger.claim_garbage(0, 10)
    with closing(psycopg2.connect(dsn)) as holder:
        holder.cursor().execute("SELECT FROM users FOR UPDATE")
        with pytest.raises(RowLocked):
            await ledger.forget_garbage(keys, wait=True)
        forgetting = running(ledger.forget_garbage(keys, wait=True))
        await until(lambda: waiting_for_locks(dsn))
        holder.rollback()
        assert await forgetting == {}
    assert query(dsn, "SELECT * FROM garbage") == []
    assert sums(dsn) == {}


@pytest_twisted.ensureDeferred
async def test_claims_of_a_node_that_died(ledger: Ledger, dsn: str) -> None:
    """An owner's garbage that was claimed a minute ago and not forgotten may be claimed
    again, and still not become an object."""
    late = await noted(ledger, name("a"))
    change(dsn, f"UPDATE garbage SET owner_id = {OWNER}, size = 10")
    assert await ledger.claim_owner_garbage(OWNER, 10) == [late.blob_key]
    age_garbage(dsn, CLAIM_SECONDS - 10)
    assert await ledger.claim_owner_garbage(OWNER, 10) == []
    age_garbage(dsn, 10)
    assert await ledger.claim_owner_garbage(OWNER, 10) == [late.blob_key]
    age_garbage(dsn, CLAIM_SECONDS)
    with pytest.raises(BlobCollected):
        await ledger.commit_upload(name("a"), late, allow, None)


@pytest_twisted.ensureDeferred
async def test_released_claims(ledger: Ledger, dsn: str) -> None:
    """A claim that is given up may be taken again at once; the blob may be gone, and
    so it can't become an object. What nobody has claimed is not touched."""
    late = await noted(ledger, name("a"))
    change(dsn, f"UPDATE garbage SET owner_id = {OWNER}, size = 10")
    (key,) = await ledger.claim_owner_garbage(OWNER, 10)
    pending = await noted(ledger, name("b"))
    await ledger.release_garbage([key, pending.blob_key])
    assert await ledger.claim_garbage(CLAIM_SECONDS + 10, 10) == []
    with pytest.raises(BlobCollected):
        await ledger.commit_upload(name("a"), late, allow, None)
    assert await ledger.claim_owner_garbage(OWNER, 10) == [key]
    await ledger.commit_upload(name("b"), pending, allow, None)


@pytest_twisted.ensureDeferred
async def test_clock_of_a_node(ledger: Ledger, other_database: IDatabase) -> None:
    """Garbage ages by the database's clock, whatever a node takes for the time."""
    await noted(ledger, name("a"))
    ahead = Ledger(other_database, lambda: 4e9)
    assert await ahead.claim_garbage(GRACE, 10) == []
    assert await ahead.garbage(GRACE, 10) == 0
    assert await ahead.garbage(0, 10) == 1


@pytest_twisted.ensureDeferred
async def test_newest_version(ledger: Ledger) -> None:
    """The ledger remembers the time of an owner's newest version, also of one that was
    deleted."""
    assert await latest(ledger) == 0
    blob = await upload(ledger, name("a"))
    made = milliseconds_of(blob.blob_key)
    assert await latest(ledger) == made
    await ledger.delete(name("a"), allow)
    assert await latest(ledger) == made


async def latest(ledger: Ledger) -> int:
    state = await ledger.write_state(name("a"))
    assert state is not None
    return state.latest
