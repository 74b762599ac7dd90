"""The ledger as the tools see it, and what they enter in it."""

from __future__ import annotations

import pytest
import pytest_twisted

from qabel_block.errors import PreconditionFailed
from qabel_block.ledger.interfaces import IDatabase
from qabel_block.ledger.ledger import Ledger
from qabel_block.ledger.maintenance import Maintenance
from qabel_block.model import (
    BlobRecord,
    BlobState,
    ImportedBlob,
    ListedBlob,
    SizeMismatch,
    WriteState,
)
from qabel_block.names import parse_blob_key
from tests.integration.ledger.support import (
    OTHER,
    OWNER,
    P,
    Q,
    allow,
    at_once,
    change,
    name,
    noted,
    upload,
)
from tests.support.database import query


@pytest_twisted.async_fixture
async def ledger(ledger: Ledger) -> Ledger:
    """A ledger with a prefix of each of two users."""
    await ledger.create_prefix(OWNER, P)
    await ledger.create_prefix(OTHER, Q)
    return ledger


@pytest.fixture
def inventory(database: IDatabase) -> Maintenance:
    return Maintenance(database)


def entry(
    path: str, size: int = 10, version: str = "", prefix: str = P
) -> ImportedBlob:
    """Return a blob to enter, one of the legacy server by default."""
    key = f"{prefix}/{path}" + (f"~{version}" if version else "")
    return ImportedBlob(name(path, prefix), key, size, '"etag"', f"{size:064x}")


def listed(key: str) -> ListedBlob:
    name_, version = parse_blob_key(key)
    return ListedBlob(key, name_, version, 10, 0.0, None)


def free(state: WriteState, _entry: ImportedBlob) -> bool:
    return state.current is None


def refuse(_target: WriteState) -> None:
    raise PreconditionFailed(None)


async def exact(inventory: Maintenance) -> bool:
    """Say whether what users store is the sum of their objects."""
    return all(s.kept == s.total for s in await inventory.sizes([OWNER, OTHER]))


@pytest_twisted.ensureDeferred
async def test_enter(ledger: Ledger, inventory: Maintenance) -> None:
    """Blobs become objects, and their owners grow; it happens once."""
    entries = [entry("a", 10), entry("b/c", 0), entry("a", 7, prefix=Q)]
    assert await inventory.import_blobs(entries, free) == [True, True, True]
    assert await inventory.import_blobs(entries, free) == [False, False, False]
    found = await ledger.find(name("a"), "2027-01-01")
    assert found is not None
    assert found.stored.blob_key == f"{P}/a"
    assert found.stored.etag == '"etag"'
    assert await inventory.sizes([OWNER, OTHER]) == [
        SizeMismatch(OWNER, 10, 10),
        SizeMismatch(OTHER, 7, 7),
    ]


@pytest_twisted.ensureDeferred
async def test_what_is_not_entered(ledger: Ledger, inventory: Maintenance) -> None:
    """No object is made of a blob below an unknown prefix, of garbage, or against
    the rule; of several of one name, the first."""
    await upload(ledger, name("there"))
    await ledger.note_blob(f"{P}/garbage")
    entries = [
        entry("a", prefix="unknown"),
        entry("garbage"),
        entry("there"),
        entry("twice", 1),
        entry("twice", 2, "01ARZ3NDEKTSV4RRFFQ69G5FAV"),
    ]
    done = await inventory.import_blobs(entries, free)
    assert done == [False, False, False, True, False]
    assert await ledger.storage_used(OWNER) == 11
    assert await exact(inventory)


@pytest_twisted.ensureDeferred
async def test_replacing(ledger: Ledger, inventory: Maintenance, dsn: str) -> None:
    """What is entered instead of an object leaves no note of that behind."""
    await inventory.import_blobs([entry("a", 10)], free)
    newer = entry("a", 3, "01ARZ3NDEKTSV4RRFFQ69G5FAV")
    assert await inventory.import_blobs([newer], lambda state, _: True) == [True]
    assert await ledger.storage_used(OWNER) == 3
    assert query(dsn, "SELECT * FROM garbage") == []


@pytest_twisted.ensureDeferred
async def test_entering_beside_changes(
    ledger: Ledger, other_ledger: Ledger, inventory: Maintenance
) -> None:
    """Of an upload and an entry of the same name at once the upload is there in the
    end; of a deletion and an entry, whatever came last; sizes are exact."""
    await inventory.begin_adoption()
    names = [name(f"{number}") for number in range(30)]
    await at_once(
        [
            *(upload(other_ledger, one) for one in names[:10]),
            inventory.import_blobs([entry(one.path) for one in names], free),
            *(other_ledger.delete(one, allow) for one in names[10:20]),
        ]
    )
    for number, one in enumerate(names):
        state = await ledger.write_state(one)
        assert state is not None
        key = state.current.blob_key if state.current else None
        if number < 10:
            assert key is not None
            assert "~" in key
        elif number < 20:
            # Deleted after it was entered, or never entered.
            assert key is None
        else:
            assert key == str(one)
    assert await exact(inventory)


@pytest_twisted.ensureDeferred
async def test_while_adopting(ledger: Ledger, inventory: Maintenance, dsn: str) -> None:
    """Until all is adopted, an upload or a deletion where there is no object makes
    the legacy server's blob of that name garbage; one that is refused does not."""

    async def use(path: str) -> None:
        await upload(ledger, name(f"{path}/written"))
        await upload(ledger, name(f"{path}/written"))
        await ledger.delete(name(f"{path}/deleted"), allow)
        with pytest.raises(PreconditionFailed):
            await ledger.delete(name(f"{path}/refused"), refuse)
        blob = await noted(ledger, name(f"{path}/refused"))
        with pytest.raises(PreconditionFailed):
            await ledger.commit_upload(name(f"{path}/refused"), blob, refuse, None)

    await use("before")
    await inventory.begin_adoption()
    await inventory.begin_adoption()
    await use("during")
    await inventory.end_adoption()
    await use("after")
    notes = {key for (key,) in query(dsn, "SELECT blob_key FROM garbage")}
    assert {key for key in notes if "~" not in key} == {
        f"{P}/during/written",
        f"{P}/during/deleted",
    }
    done = await inventory.import_blobs(
        [entry(f"during/{what}") for what in ("written", "deleted", "refused")], free
    )
    assert done == [False, False, True]


@pytest_twisted.ensureDeferred
async def test_states(ledger: Ledger, inventory: Maintenance) -> None:
    """What the ledger knows of a blob: it is an object, garbage, or unknown, with
    another blob of its name or without."""
    current = (await upload(ledger, name("a"))).blob_key
    garbage = (await noted(ledger, name("a"))).blob_key
    keys = [current, garbage, f"{P}/a", f"{P}/b", "unknown/c"]
    assert await inventory.states([listed(key) for key in keys]) == [
        BlobRecord(BlobState.OBJECT, current),
        BlobRecord(BlobState.GARBAGE, current),
        BlobRecord(BlobState.OTHER, current),
        BlobRecord(BlobState.UNKNOWN, None),
        BlobRecord(BlobState.UNKNOWN, None),
    ]


@pytest_twisted.ensureDeferred
async def test_noting_unknown(ledger: Ledger, inventory: Maintenance) -> None:
    """Only what is unknown is noted, below prefixes that somebody owns; then nobody
    makes an object of it."""
    current = (await upload(ledger, name("a"))).blob_key
    garbage = (await noted(ledger, name("a"))).blob_key
    keys = [current, garbage, f"{P}/a", f"{P}/b", "unknown/c"]
    blobs = [listed(key) for key in keys]
    assert await inventory.note_unknown(blobs) == [f"{P}/a", f"{P}/b"]
    assert await inventory.note_unknown(blobs) == []
    assert await inventory.import_blobs([entry("b")], free) == [False]


@pytest_twisted.ensureDeferred
async def test_dropping(ledger: Ledger, inventory: Maintenance) -> None:
    """An object is dropped only as it was seen; its owner shrinks."""
    await upload(ledger, name("same"), 5)
    await upload(ledger, name("changed"), 7)
    (seen,) = [page async for page in inventory.objects()]
    await upload(ledger, name("changed"), 9)
    assert await inventory.unchanged(seen) == [one for one in seen if one.size == 5]
    dropped = await inventory.drop_objects(seen)
    assert [one.name.path for one in dropped] == ["same"]
    assert await ledger.storage_used(OWNER) == 9
    assert await inventory.drop_objects(seen) == []


@pytest_twisted.ensureDeferred
async def test_pages(
    ledger: Ledger, inventory: Maintenance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Users, prefixes and objects come page by page, each once, those of users who
    only own or only store something too."""
    monkeypatch.setattr("qabel_block.ledger.maintenance.USERS", 2)
    monkeypatch.setattr("qabel_block.ledger.maintenance.PREFIXES", 2)
    monkeypatch.setattr("qabel_block.ledger.maintenance.OBJECTS", 2)
    for number in range(5):
        await ledger.create_prefix(100 + number, f"own-{number}")
        await upload(ledger, name(f"a/{number}", f"own-{number}"))
    await ledger.create_prefix(100, "another")
    users = [user for page in [p async for p in inventory.users()] for user in page]
    assert users == [OWNER, OTHER, *range(100, 105)]
    pages = [page async for page in inventory.prefixes(8, 101)]
    assert [pair for page in pages for pair in page] == [
        (OTHER, Q),
        (100, "another"),
        (100, "own-0"),
        (101, "own-1"),
    ]
    objects = [one for page in [p async for p in inventory.objects()] for one in page]
    assert [one.name.prefix for one in objects] == [f"own-{n}" for n in range(5)]
    assert all(one.owned for one in objects)
    assert await inventory.count_objects() == 5


@pytest_twisted.ensureDeferred
async def test_sizes(ledger: Ledger, inventory: Maintenance, dsn: str) -> None:
    """What users store is compared with their objects, and corrected on demand."""
    await upload(ledger, name("a"), 5)
    await upload(ledger, name("b", Q), 6)
    change(
        dsn,
        f"UPDATE users SET size = NULL WHERE user_id = {OWNER}",
        "INSERT INTO users (user_id, size) VALUES (50, NULL), (51, 3)",
    )
    everybody = [OWNER, OTHER, 50, 51, 52]
    wrong = [SizeMismatch(OWNER, 0, 5), SizeMismatch(51, 3, 0)]
    assert [s for s in await inventory.sizes(everybody) if s.kept != s.total] == wrong
    assert await inventory.correct_sizes(everybody) == wrong
    assert await inventory.correct_sizes(everybody) == []
    assert await ledger.storage_used(OWNER) == 5
