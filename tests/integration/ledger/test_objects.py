"""Which blob an object is: uploads, deletions and looks."""

from __future__ import annotations

import time
from typing import NoReturn

import pytest
import pytest_twisted

from qabel_block.errors import BlobCollected, NotOwner, PreconditionFailed, QuotaReached
from qabel_block.ledger.ledger import Ledger
from qabel_block.model import Change, PendingBlob, ReadState, StoredObject, WriteState
from qabel_block.names import Versions
from tests.integration.ledger.conftest import KINDS, PARTITIONED
from tests.integration.ledger.support import (
    OTHER,
    OWNER,
    P,
    Q,
    allow,
    change,
    name,
    noted,
    overwrite,
    upload,
)
from tests.support.database import query

MONTH = "2027-01-01"

pytestmark = pytest.mark.parametrize("kind", [*KINDS, PARTITIONED], indirect=True)


@pytest_twisted.async_fixture
async def ledger(ledger: Ledger) -> Ledger:
    """A ledger with a prefix for each of two users."""
    await ledger.create_prefix(OWNER, P)
    await ledger.create_prefix(OTHER, Q)
    return ledger


def stored(blob: PendingBlob) -> StoredObject:
    return StoredObject(blob.blob_key, blob.size, blob.etag, blob.sha256)


def garbage(dsn: str) -> set[str]:
    return {key for (key,) in query(dsn, "SELECT blob_key FROM garbage")}


@pytest_twisted.ensureDeferred
async def test_first_upload(ledger: Ledger, dsn: str) -> None:
    """A committed upload is the object, counts as its owner's, and is no garbage."""
    blob = await noted(ledger, name("blocks/a"), 10)
    assert garbage(dsn) == {blob.blob_key}
    change = await ledger.commit_upload(name("blocks/a"), blob, allow, None)
    assert change == Change(OWNER, 10)
    assert garbage(dsn) == set()
    assert await ledger.write_state(name("blocks/a")) == WriteState(
        OWNER, 10, stored(blob)
    )
    found = await ledger.find(name("blocks/a"), MONTH)
    assert found == ReadState(stored(blob), OWNER, 0)
    assert await ledger.storage_used(OWNER) == 10
    assert await ledger.storage_used(OTHER) == 0


@pytest_twisted.ensureDeferred
async def test_modified(ledger: Ledger, dsn: str) -> None:
    """An object was modified when its upload ended, however long that took, and not
    before its version by a clock that has been set back. Of an adopted one it is not
    known."""
    for began, least, most in ((-3600, 0, 60), (3600, 3600, 3600)):
        before = int(time.time())
        version = Versions(lambda: before + began).next()  # noqa: B023
        blob = await noted(ledger, name("a"), 1, version)
        await ledger.commit_upload(name("a"), blob, allow, None)
        found = await ledger.find(name("a"), MONTH)
        state = await ledger.write_state(name("a"))
        assert found is not None
        assert state is not None
        assert found.stored.modified == state.modified
        assert found.stored.modified is not None
        assert least <= found.stored.modified - before <= most
    change(dsn, f"UPDATE objects SET blob_key = '{name('a')}'")
    found = await ledger.find(name("a"), MONTH)
    assert found is not None
    assert found.stored.modified is None


@pytest_twisted.ensureDeferred
async def test_names_apart(ledger: Ledger) -> None:
    """An object is found under its own name only, whatever names resemble it."""
    await upload(ledger, name("a/b"), 1)
    await upload(ledger, name("a"), 2)
    await upload(ledger, name("a/b", Q), 4)
    for other in (name("a/c"), name("A"), name("b"), name("a", Q)):
        assert await ledger.find(other, MONTH) is None
    state = await ledger.write_state(name("A"))
    assert state == WriteState(OWNER, 3, None)


@pytest_twisted.ensureDeferred
async def test_overwrite(ledger: Ledger, dsn: str) -> None:
    """An upload replaces the object, changes the owner's size by the difference,
    and leaves the old blob as garbage."""
    first = await upload(ledger, name("a"), 10)
    await upload(ledger, name("b"), 1)
    second = await noted(ledger, name("a"), 4)
    change = await ledger.commit_upload(name("a"), second, allow, None)
    assert change == Change(OWNER, -6)
    assert await ledger.write_state(name("a")) == WriteState(OWNER, 5, stored(second))
    assert garbage(dsn) == {first.blob_key}
    assert await overwrite(ledger, name("a"), 40) == Change(OWNER, 36)
    assert await ledger.storage_used(OWNER) == 41


@pytest_twisted.ensureDeferred
async def test_empty_object(ledger: Ledger) -> None:
    """An object of no bytes is an object."""
    blob = await upload(ledger, name("a"), 0)
    assert await ledger.write_state(name("a")) == WriteState(OWNER, 0, stored(blob))


@pytest_twisted.ensureDeferred
async def test_large_object(ledger: Ledger) -> None:
    """Sizes and sums go beyond 32 bits."""
    await upload(ledger, name("a"), 2**41)
    await upload(ledger, name("b"), 2**41)
    assert await ledger.storage_used(OWNER) == 2**42


@pytest_twisted.ensureDeferred
async def test_longest_names(ledger: Ledger) -> None:
    """The longest path and prefix of the grammar can be stored."""
    prefix, path = "p" * 36, "/".join(["s" * 180] * 5)[:900]
    await ledger.create_prefix(OWNER, prefix)
    blob = await upload(ledger, name(path, prefix))
    assert await ledger.find(name(path, prefix), MONTH) == ReadState(
        stored(blob), OWNER, 0
    )


@pytest_twisted.ensureDeferred
async def test_what_decides(ledger: Ledger) -> None:
    """Who decides about a change gets the owner, the bytes used by all of the
    owner's objects, and the object as it is."""
    await upload(ledger, name("b"), 5)
    seen: list[WriteState] = []
    blob = await noted(ledger, name("a"), 10)
    await ledger.commit_upload(name("a"), blob, seen.append, None)
    await overwrite_seen(ledger, seen)
    await ledger.delete(name("b"), seen.append)
    await ledger.delete(name("c"), seen.append)
    b = seen[2].current
    assert seen == [
        WriteState(OWNER, 5, None),
        WriteState(OWNER, 15, stored(blob)),
        WriteState(OWNER, 25, b),
        WriteState(OWNER, 20, None),
    ]
    assert b is not None
    assert b.size == 5


async def overwrite_seen(ledger: Ledger, seen: list[WriteState]) -> None:
    blob = await noted(ledger, name("a"), 20)
    await ledger.commit_upload(name("a"), blob, seen.append, None)


@pytest_twisted.ensureDeferred
async def test_refusal(ledger: Ledger, dsn: str) -> None:
    """A refused change changes nothing: object, size and notes are as before, and
    whoever asked gets the very refusal."""
    first = await upload(ledger, name("a"), 10)
    blob = await noted(ledger, name("a"), 20)
    error = PreconditionFailed(first.etag)

    def refuse(state: WriteState) -> NoReturn:
        raise error

    with pytest.raises(PreconditionFailed) as caught:
        await ledger.commit_upload(name("a"), blob, refuse, None)
    assert caught.value is error
    with pytest.raises(PreconditionFailed):
        await ledger.delete(name("a"), refuse)
    assert await ledger.write_state(name("a")) == WriteState(OWNER, 10, stored(first))
    assert garbage(dsn) == {blob.blob_key}


@pytest_twisted.ensureDeferred
async def test_refusal_of_nothing(ledger: Ledger) -> None:
    """Deleting what isn't there can be refused as well."""

    def refuse(state: WriteState) -> NoReturn:
        assert state.current is None
        raise QuotaReached

    with pytest.raises(QuotaReached):
        await ledger.delete(name("a"), refuse)


@pytest_twisted.ensureDeferred
async def test_delete(ledger: Ledger, dsn: str) -> None:
    """A deleted object is gone, its space is free, and its blob is garbage."""
    blob = await upload(ledger, name("a"), 10)
    other = await upload(ledger, name("b"), 1)
    assert await ledger.delete(name("a"), allow) == Change(OWNER, -10)
    assert await ledger.find(name("a"), MONTH) is None
    assert await ledger.write_state(name("b")) == WriteState(OWNER, 1, stored(other))
    assert garbage(dsn) == {blob.blob_key}
    assert await ledger.delete(name("a"), allow) is None
    assert await ledger.storage_used(OWNER) == 1


@pytest_twisted.ensureDeferred
async def test_no_prefix(ledger: Ledger, dsn: str) -> None:
    """Below a prefix that doesn't exist nothing is stored or deleted."""
    elsewhere = name("a", "nowhere")
    blob = await noted(ledger, elsewhere)
    with pytest.raises(NotOwner):
        await ledger.commit_upload(elsewhere, blob, allow, None)
    with pytest.raises(NotOwner):
        await ledger.delete(elsewhere, allow)
    assert garbage(dsn) == {blob.blob_key}
    assert await ledger.write_state(elsewhere) is None


@pytest_twisted.ensureDeferred
async def test_claim_by_writing(ledger: Ledger) -> None:
    """Who may write below any prefix gets one that nobody has by writing below
    it, and none that somebody has."""
    elsewhere = name("a", "nowhere")
    blob = await noted(ledger, elsewhere, 3)
    assert await ledger.commit_upload(elsewhere, blob, allow, 0) == Change(0, 3)
    assert await ledger.prefixes(0) == ["nowhere"]
    blob = await noted(ledger, name("a"), 3)
    assert await ledger.commit_upload(name("a"), blob, allow, 0) == Change(OWNER, 3)
    assert await ledger.prefixes(OWNER) == [P]


@pytest_twisted.ensureDeferred
async def test_refused_claim(ledger: Ledger) -> None:
    """A prefix isn't anybody's after an upload to it was refused."""
    elsewhere = name("a", "nowhere")

    def refuse(state: WriteState) -> NoReturn:
        raise QuotaReached

    blob = await noted(ledger, elsewhere)
    with pytest.raises(QuotaReached):
        await ledger.commit_upload(elsewhere, blob, refuse, 0)
    assert await ledger.prefixes(0) == []


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "legacy",
    [
        "DELETE FROM users",
        f"INSERT INTO users (user_id) VALUES ({OWNER})",
        f"INSERT INTO users (user_id, size) VALUES ({OWNER}, NULL)",
    ],
)
async def test_legacy_users(ledger: Ledger, dsn: str, legacy: str) -> None:
    """An owner whom the legacy server knew no size of stores 0 bytes so far."""
    change(dsn, legacy)
    assert await ledger.storage_used(OWNER) == 0
    assert await ledger.write_state(name("a")) == WriteState(OWNER, 0, None)
    assert await ledger.delete(name("a"), allow) is None
    assert await overwrite(ledger, name("a"), 10) == Change(OWNER, 10)
    assert await ledger.delete(name("a"), allow) == Change(OWNER, -10)
    await upload(ledger, name("b"), 4)
    assert await ledger.storage_used(OWNER) == 4


@pytest_twisted.ensureDeferred
async def test_blob_without_note(ledger: Ledger, dsn: str) -> None:
    """A blob whose note is gone or claimed is not committed, and nothing changes."""
    first = await upload(ledger, name("a"), 10)
    forgotten = await noted(ledger, name("a"), 20)
    await ledger.forget_garbage([forgotten.blob_key])
    claimed = await noted(ledger, name("a"), 30)
    assert await ledger.claim_garbage(0, 10) == [claimed.blob_key]
    for blob in (forgotten, claimed):
        with pytest.raises(BlobCollected):
            await ledger.commit_upload(name("a"), blob, allow, None)
    assert await ledger.write_state(name("a")) == WriteState(OWNER, 10, stored(first))
    assert garbage(dsn) == {claimed.blob_key}
