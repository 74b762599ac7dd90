"""What every IBlobListing does."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from hashlib import sha256
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import pytest
import pytest_twisted
from attrs import field, frozen
from twisted.internet import reactor
from zope.interface.verify import verifyObject

from qabel_block.errors import Unavailable
from qabel_block.interfaces import IBlobListing, IStorageBackend
from qabel_block.model import Digest, ListedBlob
from qabel_block.names import IDENTITY
from qabel_block.storage.local import scan
from qabel_block.storage.local.listing import LocalListing
from qabel_block.storage.local.storage import LocalStorage
from qabel_block.storage.s3.listing import FEW, S3Listing
from qabel_block.util.threads import ThreadPool
from tests.integration.storage.blobs import INSTALLATION, new_key, pattern, read, write
from tests.integration.storage.conftest import (
    TRANSFERS,
    bucket_named,
    connecting,
    s3_storage,
)
from tests.support.open_files import open_below
from tests.support.s3 import STORES, Bucket

T = TypeVar("T")
PAGE = 10
IMPLEMENTATIONS = {"local": LocalListing, **dict.fromkeys(STORES, S3Listing)}


@frozen
class ListingCase:
    """A storage, and what lists it.

    :ivar put: stores a blob of the legacy server, or something else, behind our
        backs.
    """

    storage: IStorageBackend
    listing: IBlobListing
    put: Callable[[str, bytes], None] = field(repr=False)


def _in_bucket(bucket: Bucket, threads: ThreadPool) -> ListingCase:
    def put(key: str, content: bytes) -> None:
        bucket.client.put_object(Bucket=bucket.name, Key=key, Body=content)

    listing = S3Listing(connecting(bucket), threads, reactor, TRANSFERS, PAGE)
    return ListingCase(s3_storage(bucket, threads), listing, put)


def _in_directory(root: Path, threads: ThreadPool) -> ListingCase:
    def put(key: str, content: bytes) -> None:
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        (root / key).write_bytes(content)

    return ListingCase(
        LocalStorage(root, threads), LocalListing(root, threads, PAGE), put
    )


@pytest_twisted.async_yield_fixture(params=IMPLEMENTATIONS)
async def place(
    request: pytest.FixtureRequest, threads: ThreadPool, tmp_path: Path
) -> AsyncIterator[ListingCase]:
    """Each storage with its listing."""
    if request.param == "local":
        place = _in_directory(tmp_path / "objects", threads)
    else:
        place = _in_bucket(bucket_named(request.param, request), threads)
    await place.storage.bind(INSTALLATION)
    yield place
    await place.storage.close()
    await place.listing.close()


@pytest.fixture
def prefix() -> str:
    """One that nobody else uses."""
    return str(uuid4())


async def collected(pages: AsyncGenerator[T, None]) -> list[T]:
    return [page async for page in pages]


async def below(place: ListingCase, prefix: str) -> dict[str, ListedBlob]:
    """Return all blobs below a prefix."""
    blobs = [
        blob
        for page in await collected(place.listing.blobs(prefix))
        for blob in page.blobs
    ]
    assert len({blob.key for blob in blobs}) == len(blobs)
    return {blob.key: blob for blob in blobs}


@pytest_twisted.ensureDeferred
async def test_interface(place: ListingCase) -> None:
    """It has all methods."""
    assert verifyObject(IBlobListing, place.listing)


@pytest_twisted.ensureDeferred
async def test_blobs(place: ListingCase, prefix: str) -> None:
    """All blobs below a prefix are listed, ours and the legacy server's, however
    deep and of whatever size, with their names."""
    ours = [
        new_key(path, prefix)
        for path in ("a", "a", "a/b", "a-b/c", "blocks/x", "/".join("abcdefgh"))
    ]
    legacy = [f"{prefix}/{path}" for path in ("x", "l/a", "l/b/c", "blocks/x")]
    for number, key in enumerate(ours):
        await write(place.storage, key, pattern(number * 1000))
    for number, key in enumerate(legacy):
        place.put(key, pattern(number * 10))
    found = await below(place, prefix)
    assert set(found) == {*ours, *legacy}
    for number, key in enumerate(ours):
        assert found[key].size == number * 1000
        assert str(found[key].name) + f"~{found[key].version}" == key
    for number, key in enumerate(legacy):
        assert found[key].size == number * 10
        assert (str(found[key].name), found[key].version) == (key, None)


@pytest_twisted.ensureDeferred
async def test_time(place: ListingCase, prefix: str) -> None:
    """A blob is listed with the time at which it was stored, more or less."""
    key = new_key("a", prefix)
    await write(place.storage, key, b"x")
    (blob,) = (await below(place, prefix)).values()
    assert abs(reactor.seconds() - blob.modified) < 120


@pytest_twisted.ensureDeferred
async def test_other_prefixes(place: ListingCase, prefix: str) -> None:
    """What is below another prefix is not listed, even if one name is the
    beginning of the other."""
    short = prefix[:-1]
    await write(place.storage, new_key("a", prefix), b"x")
    await write(place.storage, new_key("a", short), b"x")
    assert {blob.name.prefix for blob in (await below(place, short)).values()} == {
        short
    }
    assert await below(place, str(uuid4())) == {}


@pytest_twisted.ensureDeferred
async def test_prefixes(place: ListingCase, prefix: str) -> None:
    """Each prefix below which there is something is listed once, and nothing that
    can't be a prefix."""
    await write(place.storage, new_key("a/b", prefix), b"x")
    await write(place.storage, new_key("c", prefix), b"x")
    place.put(f"{prefix[:-1]}/a", b"x")
    place.put("lost+found/a", b"x")
    place.put("x" * 37 + "/a", b"x")
    place.put(f"file-{prefix[:8]}", b"x")
    pages = await collected(place.listing.prefixes())
    names = [name for page in pages for name in page]
    assert names.count(prefix) == names.count(prefix[:-1]) == 1
    for wrong in ("lost+found", "x" * 37, f"file-{prefix[:8]}", ".incoming"):
        assert wrong not in names


@pytest_twisted.ensureDeferred
async def test_beside_prefixes(place: ListingCase, prefix: str) -> None:
    """What is beside the prefixes and can't be one is named, each once; but not what
    is the storage's own."""
    await write(place.storage, new_key("a/b", prefix), b"x")
    file = f"file-{prefix[:8]}"
    for key in ("has.dot/x", "has.dot/y", "x" * 49 + "/a", file):
        place.put(key, b"x")
    strays = [name for page in await collected(place.listing.strays()) for name in page]
    named = ("has.dot", "x" * 49, file)
    assert [strays.count(name) for name in named] == [1, 1, 1]
    for name in (prefix, IDENTITY, ".incoming"):
        assert name not in strays


@pytest_twisted.ensureDeferred
async def test_folders_beside_prefixes(threads: ThreadPool, tmp_path: Path) -> None:
    """Empty folders are not named, links are, wherever they lead."""
    place = _in_directory(tmp_path / "objects", threads)
    await place.storage.bind(INSTALLATION)
    (tmp_path / "objects/lost+found").mkdir()
    (tmp_path / "objects/to.nowhere").symlink_to(tmp_path / "nowhere")
    (tmp_path / "objects/to.empty").symlink_to(tmp_path / "objects/lost+found")
    pages = await collected(place.listing.strays())
    strays = sorted(name for page in pages for name in page)
    assert strays == ["to.empty", "to.nowhere"]


@pytest_twisted.ensureDeferred
async def test_strays(place: ListingCase, prefix: str) -> None:
    """What can be no blob is told apart, for people to see."""
    key = new_key("a", prefix)
    await write(place.storage, key, b"x")
    strays = {f"{prefix}/a.b", f"{prefix}/c d", f"{prefix}/a~1", f"{prefix}/\u00e4"}
    for stray in strays:
        place.put(stray, b"x")
    pages = await collected(place.listing.blobs(prefix))
    assert strays == {s for page in pages for s in page.strays}
    assert [blob.key for page in pages for blob in page.blobs] == [key]


@pytest_twisted.ensureDeferred
async def test_several_pages(place: ListingCase, prefix: str) -> None:
    """A listing goes on until its end; what is listed can be looked at again."""
    keys = {f"{prefix}/{number % 3}/{number}" for number in range(2 * PAGE + 3)}
    for key in keys:
        place.put(key, b"x")
    assert set(await below(place, prefix)) == keys
    assert set(await place.listing.stat(sorted(keys))) == keys


@pytest_twisted.ensureDeferred
async def test_left_early(place: ListingCase, prefix: str) -> None:
    """Whoever has seen enough closes the iterator."""
    for number in range(5):
        await write(place.storage, new_key(f"a/{number}", prefix), b"x")
    pages = place.listing.blobs(prefix)
    assert (await anext(pages)).blobs
    await pages.aclose()


@pytest_twisted.ensureDeferred
async def test_look(place: ListingCase, prefix: str) -> None:
    """Blobs are found by their keys, few or many, in whatever order; what is not
    there is left out."""
    ours = [new_key(f"{number % 4}/{number}", prefix) for number in range(20)]
    legacy = [f"{prefix}/l/{number}" for number in range(5)]
    for key in ours:
        await write(place.storage, key, b"four")
    for key in legacy:
        place.put(key, b"five!")
    missing = [new_key("0/0", prefix), f"{prefix}/l/9", f"{uuid4()}/a"]
    found = await place.listing.stat([*reversed(ours), *missing, *legacy])
    assert found == await below(place, prefix)
    assert set(await place.listing.stat([missing[0], ours[3]])) == {ours[3]}
    assert await place.listing.stat([]) == {}


@pytest_twisted.ensureDeferred
async def test_look_is_not_misled(place: ListingCase, prefix: str) -> None:
    """A blob is found among many others that are listed before it."""
    keys = [f"{prefix}/a/{number:05}" for number in range(PAGE * 3 + 10)]
    for key in keys:
        place.put(key, b"x")
    wanted = [keys[0], *keys[-(FEW + 1) :]]
    assert set(await place.listing.stat(wanted)) == set(wanted)


@pytest_twisted.ensureDeferred
async def test_digests(place: ListingCase, prefix: str) -> None:
    """Blobs are read and hashed, empty and large ones too; what is gone is left
    out."""
    contents = {
        new_key(f"a/{number}", prefix): pattern(size)
        for number, size in enumerate([0, 1, 1000, 70_000, 3 * 2**20 + 1])
    }
    for key, content in contents.items():
        await write(place.storage, key, content)
    gone = new_key("a/gone", prefix)
    await write(place.storage, gone, b"x")
    blobs = list((await below(place, prefix)).values())
    await place.storage.delete([gone])
    assert await place.listing.digests(blobs) == {
        key: Digest(sha256(content).hexdigest()) for key, content in contents.items()
    }


@pytest_twisted.ensureDeferred
async def test_wrong_keys(place: ListingCase) -> None:
    """What is no key or no prefix is a mistake of the caller."""
    with pytest.raises(ValueError, match="not a blob key"):
        await place.listing.stat(["p/../a"])
    for wrong in ("", "..", "a/b", "a b"):
        with pytest.raises(ValueError, match="not a prefix"):
            await collected(place.listing.blobs(wrong))


@pytest_twisted.ensureDeferred
async def test_etags_of_legacy_files(threads: ThreadPool, tmp_path: Path) -> None:
    """The legacy server's ETag of a file was the time of its last change, in
    nanoseconds; ours has none but the ledger's."""
    place = _in_directory(tmp_path, threads)
    await place.storage.bind(INSTALLATION)
    place.put("p/a", b"x")
    os.utime(tmp_path / "p/a", ns=(1, 1_500_000_000_123_456_789))
    await write(place.storage, new_key("b", "p"), b"x")
    etags = {blob.name.path: blob.etag for blob in (await below(place, "p")).values()}
    assert etags == {"a": '"1500000000123456789"', "b": None}


@pytest_twisted.ensureDeferred
async def test_etags_of_legacy_objects(bucket: Bucket, threads: ThreadPool) -> None:
    """The legacy server's ETag in a bucket was S3's."""
    place = _in_bucket(bucket, threads)
    prefix = str(uuid4())
    place.put(f"{prefix}/a", b"x")
    answer = bucket.client.head_object(Bucket=bucket.name, Key=f"{prefix}/a")
    listed = await below(place, prefix)
    looked = await place.listing.stat([f"{prefix}/a"])
    for blob in (*listed.values(), *looked.values()):
        assert blob.etag == answer["ETag"]
    await place.listing.close()


@pytest_twisted.ensureDeferred
async def test_links_are_not_followed(threads: ThreadPool, tmp_path: Path) -> None:
    """Nothing outside of the directory is listed, looked at or read, whatever link
    leads there."""
    outside = tmp_path / "outside"
    (outside / "folder").mkdir(parents=True)
    (outside / "a").write_bytes(b"secret")
    (outside / "folder" / "b").write_bytes(b"secret")
    place = _in_directory(tmp_path / "objects", threads)
    place.put("p/inside", b"x")
    (tmp_path / "objects/p/a").symlink_to(outside / "a")
    (tmp_path / "objects/p/folder").symlink_to(outside / "folder")
    (tmp_path / "objects/q").symlink_to(outside)
    assert set(await below(place, "p")) == {"p/inside"}
    assert set(await below(place, "q")) == set()
    pages = [page for p in "pq" for page in await collected(place.listing.blobs(p))]
    strays = [stray for page in pages for stray in page.strays]
    assert sorted(strays) == ["p/a", "p/folder", "q"]
    assert await place.listing.stat(["p/a", "p/folder/b", "q/a"]) == {}
    (blob,) = (await below(place, "p")).values()
    (tmp_path / "objects/p/inside").unlink()
    (tmp_path / "objects/p/inside").symlink_to(outside / "a")
    assert await place.listing.digests([blob]) == {}


@pytest_twisted.ensureDeferred
async def test_no_directory(threads: ThreadPool, tmp_path: Path) -> None:
    """Without the directory nothing is said about any blob, and it is not made."""
    place = _in_directory(tmp_path / "objects", threads)
    for attempt in (
        collected(place.listing.prefixes()),
        collected(place.listing.blobs("p")),
        collected(place.listing.strays()),
        place.listing.stat(["p/a"]),
    ):
        with pytest.raises(Unavailable, match="there is no directory"):
            await attempt
    assert not (tmp_path / "objects").exists()


@pytest_twisted.ensureDeferred
async def test_changed_file(threads: ThreadPool, tmp_path: Path) -> None:
    """A file that is not as long as it was, or has another validator of the legacy
    server, is not hashed."""
    place = _in_directory(tmp_path, threads)
    for name in ("longer", "shorter", "same", "later"):
        place.put(f"p/{name}", b"1234")
    blobs = list((await below(place, "p")).values())
    place.put("p/longer", b"12345")
    place.put("p/shorter", b"123")
    os.utime(tmp_path / "p/later", ns=(1, 1))
    assert set(await place.listing.digests(blobs)) == {"p/same"}


@pytest_twisted.ensureDeferred
async def test_folders_are_closed(threads: ThreadPool, tmp_path: Path) -> None:
    """Neither a listing that ends nor one that is left keeps folders open."""
    place = _in_directory(tmp_path, threads)
    for number in range(3):
        place.put(f"p/{number}/a/b/c", b"x")
    await below(place, "p")
    pages = place.listing.blobs("p")
    await anext(pages)
    await pages.aclose()
    assert open_below(tmp_path) == []


@pytest_twisted.ensureDeferred
async def test_deep_folders(threads: ThreadPool, tmp_path: Path) -> None:
    """However deep folders are, few of them are open at a time, and all that is in
    them is listed once."""
    place = _in_directory(tmp_path, threads)
    folders = [f"p{'/a' * depth}" for depth in range(450)]
    keys = [
        *(f"{folder}/x" for folder in folders[::7]),
        *(f"{folder}/b/x" for folder in folders[::50]),
        f"{folders[-1]}/x",
    ]
    for key in keys:
        place.put(key, b"x")
    (tmp_path / folders[200] / "empty").mkdir()
    (tmp_path / folders[300] / "link").symlink_to(tmp_path / "p")
    found, most = [], 0
    for entry in scan.blobs(str(tmp_path), "p"):
        found.append(entry if isinstance(entry, str) else entry.key)
        most = max(most, len(open_below(tmp_path)))
    assert sorted(found) == sorted([*keys, f"{folders[300]}/link"])
    assert most < 100
    assert open_below(tmp_path) == []


@pytest_twisted.ensureDeferred
async def test_no_bucket(threads: ThreadPool, bucket: Bucket) -> None:
    """Without the bucket nothing is said about any blob."""
    store = bucket.store
    place = _in_bucket(Bucket(store, "never-made", store.client()), threads)
    for attempt in (
        collected(place.listing.prefixes()),
        collected(place.listing.blobs("p")),
        place.listing.stat([f"p/{number}" for number in range(10)]),
    ):
        with pytest.raises(Unavailable, match="the bucket does not exist"):
            await attempt
    await place.listing.close()


@pytest_twisted.ensureDeferred
async def test_reading_is_no_writing(place: ListingCase, prefix: str) -> None:
    """Listing, looking and hashing leave a blob as it is."""
    key = new_key("a", prefix)
    await write(place.storage, key, b"as it is")
    blobs = list((await below(place, prefix)).values())
    await place.listing.stat([key])
    await place.listing.digests(blobs)
    assert await read(place.storage, key, 0, 8) == b"as it is"
