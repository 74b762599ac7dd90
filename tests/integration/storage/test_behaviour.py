"""What every IStorageBackend does."""

from __future__ import annotations

from itertools import pairwise

import pytest
import pytest_twisted
from twisted.internet.defer import gatherResults
from zope.interface.verify import verifyObject

from qabel_block.errors import BlobNotFound, Unavailable, WrongStorage
from qabel_block.interfaces import IBlobReader, IBlobWriter, IStorageBackend
from tests.integration.storage.blobs import INSTALLATION, new_key, pattern, read, write
from tests.support.clocks import running

LARGE = pattern(12 * 2**20 + 7)
"""Several parts of a multipart upload, the last of them small."""

BAD_KEYS = [
    "",
    "p",
    "p/",
    "/a",
    "p//a",
    "p/../a~01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "../p/a~01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "p/a/~01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "p/a~",
    "p/a~1",
    "p/a~01arz3ndektsv4rrffq69g5fav",
    "p/a~/b~01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "p/.~01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "p/a\0~01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "p/\u00e4~01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "p/a~01ARZ3NDEKTSV4RRFFQ69G5FAV\n",
    ".incoming/a~01ARZ3NDEKTSV4RRFFQ69G5FAV",
    f"{'p' * 37}/a~01ARZ3NDEKTSV4RRFFQ69G5FAV",
    f"p/{'a' * 201}~01ARZ3NDEKTSV4RRFFQ69G5FAV",
    f"p/{'/'.join(['a' * 180] * 5)}~01ARZ3NDEKTSV4RRFFQ69G5FAV",
]


async def is_there(storage: IStorageBackend, key: str) -> bool:
    try:
        reader = await storage.open(key, 0, 1)
    except BlobNotFound:
        return False
    await reader.close()
    return True


@pytest_twisted.ensureDeferred
async def test_interface(storage: IStorageBackend) -> None:
    """It has all methods, and so have its writers and readers."""
    assert verifyObject(IStorageBackend, storage)
    key = new_key()
    writer = await storage.create(key)
    assert verifyObject(IBlobWriter, writer)
    await writer.write(b"x")
    await writer.finish()
    reader = await storage.open(key, 0, 1)
    assert verifyObject(IBlobReader, reader)
    await reader.close()


@pytest_twisted.ensureDeferred
async def test_identity(storage: IStorageBackend) -> None:
    """It belongs to one installation, which may bind it again, and no other may."""
    assert await storage.identity() == INSTALLATION
    await storage.bind(INSTALLATION)
    with pytest.raises(WrongStorage):
        await storage.bind("2f0c4d6e-0000-4000-8000-000000000000")
    assert await storage.identity() == INSTALLATION
    await write(storage, new_key(), b"x")
    await storage.check()


@pytest_twisted.ensureDeferred
async def test_check(storage: IStorageBackend) -> None:
    """A store that works passes the check, again and again."""
    await storage.check()
    await storage.check()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "pieces",
    [
        [b"x"],
        [b"", b"a", b"", b"bc"],
        [bytes(range(256)) * 256],
        [bytes(range(256)) * 256, b"!"],
        [pattern(4096)] * 40,
        [pattern(300_000), pattern(300_000, 1)],
    ],
    ids=["byte", "empty pieces", "64 KiB", "64 KiB and one", "40 pieces", "two"],
)
async def test_what_was_written_is_read(
    storage: IStorageBackend, pieces: list[bytes]
) -> None:
    """A finished blob consists of all pieces in their order."""
    key = new_key()
    await write(storage, key, *pieces)
    content = b"".join(pieces)
    assert await read(storage, key, 0, len(content)) == content


@pytest_twisted.ensureDeferred
async def test_large_blob(storage: IStorageBackend) -> None:
    """A blob of several parts is read as it was written, however it was cut."""
    key = new_key()
    cuts = [0, 1, 5 * 2**20, 5 * 2**20 + 1, 11 * 2**20, len(LARGE)]
    pieces = [LARGE[at:to] for at, to in pairwise(cuts)]
    await write(storage, key, *pieces)
    assert await read(storage, key, 0, len(LARGE)) == LARGE


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("size", [5 * 2**20, 10 * 2**20])
async def test_whole_parts(storage: IStorageBackend, size: int) -> None:
    """A blob that ends with a part is complete."""
    key = new_key()
    content = pattern(size)
    await write(storage, key, content)
    assert await read(storage, key, 0, size) == content


@pytest_twisted.ensureDeferred
async def test_empty_blob(storage: IStorageBackend) -> None:
    """An empty blob is one: it is there, and has no first byte."""
    key = new_key()
    await write(storage, key)
    with pytest.raises(Unavailable):
        await read(storage, key, 0, 1)
    await storage.delete([key])
    assert not await is_there(storage, key)


@pytest_twisted.ensureDeferred
async def test_ranges(storage: IStorageBackend) -> None:
    """Any part of a blob can be read, and nothing but that."""
    key = new_key()
    await write(storage, key, LARGE)
    size = len(LARGE)
    for start, length in [
        (0, 1),
        (0, 100),
        (1, 1),
        (size - 1, 1),
        (size - 100, 100),
        (5 * 2**20 - 1, 2),
        (300_000, 5 * 2**20),
        (1, size - 1),
        (0, size - 1),
    ]:
        found = await read(storage, key, start, length)
        assert found == LARGE[start : start + length]


@pytest_twisted.ensureDeferred
async def test_end_of_what_was_asked_for(storage: IStorageBackend) -> None:
    """After the last piece comes the empty one, however often it is asked for."""
    key = new_key()
    await write(storage, key, b"0123456789")
    reader = await storage.open(key, 2, 3)
    assert await reader.read() == b"234"
    assert await reader.read() == b""
    assert await reader.read() == b""
    await reader.close()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(("start", "length"), [(5, 6), (10, 1), (0, 11), (100, 1)])
async def test_blob_shorter_than_it_should_be(
    storage: IStorageBackend, start: int, length: int
) -> None:
    """Reading past the end of a blob is an error, not a short answer."""
    key = new_key()
    await write(storage, key, b"0123456789")
    with pytest.raises(Unavailable):
        await read(storage, key, start, length)


@pytest_twisted.ensureDeferred
async def test_reader_that_is_left(storage: IStorageBackend) -> None:
    """A reader may be closed at any time; others are not disturbed."""
    key = new_key()
    await write(storage, key, LARGE)
    for pieces in (0, 1, 3):
        reader = await storage.open(key, 0, len(LARGE))
        for _ in range(pieces):
            assert await reader.read()
        await reader.close()
    assert await read(storage, key, 0, len(LARGE)) == LARGE


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("content", [b"x", pattern(200_000), LARGE], ids=len)
async def test_invisible_until_finished(
    storage: IStorageBackend, content: bytes
) -> None:
    """Nothing is to be seen under the key before `finish` returns."""
    key = new_key()
    writer = await storage.create(key)
    assert not await is_there(storage, key)
    await writer.write(content)
    assert not await is_there(storage, key)
    await writer.finish()
    assert await read(storage, key, 0, len(content)) == content


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("content", [b"", b"x", pattern(200_000), LARGE], ids=len)
async def test_abort(storage: IStorageBackend, content: bytes) -> None:
    """An aborted blob is never seen; aborting again changes nothing."""
    key = new_key()
    writer = await storage.create(key)
    await writer.write(content)
    await writer.abort()
    await writer.abort()
    assert not await is_there(storage, key)


@pytest_twisted.ensureDeferred
async def test_not_found(storage: IStorageBackend) -> None:
    """What was never stored is not found, nor what is below or beside a blob."""
    prefix = new_key().partition("/")[0]
    key = new_key("a/b", prefix)
    await write(storage, key, b"x")
    version = key.partition("~")[2]
    for other in (
        new_key("a/b", prefix),
        new_key("a/b"),
        f"{prefix}/a/b",
        f"{prefix}/a",
        f"{prefix}/a~{version}",
        f"{prefix}/a/b/c~{version}",
        f"{prefix}/b~{version}",
        f"{prefix[:-1]}/a/b~{version}",
    ):
        assert not await is_there(storage, other)


@pytest_twisted.ensureDeferred
async def test_delete(storage: IStorageBackend) -> None:
    """A deleted blob is gone, with many others or alone; the rest stays."""
    prefix = new_key().partition("/")[0]
    keys = [new_key(f"blocks/{number}", prefix) for number in range(12)]
    for key in keys:
        await write(storage, key, b"x")
    await storage.delete(keys[:1])
    await storage.delete(keys[1:11])
    assert [await is_there(storage, key) for key in keys] == [False] * 11 + [True]


@pytest_twisted.ensureDeferred
async def test_delete_what_is_not_there(storage: IStorageBackend) -> None:
    """What is not there counts as deleted, beside what is there."""
    gone, never, there = new_key(), new_key(), new_key()
    for key in (gone, there):
        await write(storage, key, b"x")
    await storage.delete([gone])
    await storage.delete([gone, never, there])
    assert not await is_there(storage, there)
    await storage.delete([])


@pytest_twisted.ensureDeferred
async def test_reading_survives_deletion(storage: IStorageBackend) -> None:
    """A reader that was opened is not disturbed by the blob's deletion."""
    key = new_key()
    await write(storage, key, LARGE)
    reader = await storage.open(key, 0, len(LARGE))
    await storage.delete([key])
    content = b""
    while piece := await reader.read():
        content += piece
    await reader.close()
    assert content == LARGE


@pytest_twisted.ensureDeferred
async def test_bad_keys(storage: IStorageBackend) -> None:
    """What is no key of a blob is refused by every method, as a mistake of the
    caller; a list with such a key deletes nothing."""
    good = new_key()
    await write(storage, good, b"x")
    for key in BAD_KEYS:
        with pytest.raises(ValueError, match="not a blob key"):
            await storage.create(key)
        with pytest.raises(ValueError, match="not a blob key"):
            await storage.open(key, 0, 1)
        with pytest.raises(ValueError, match="not a blob key"):
            await storage.delete([good, key])
    assert await is_there(storage, good)


@pytest_twisted.ensureDeferred
async def test_keys_at_the_limits(storage: IStorageBackend) -> None:
    """The longest paths and segments there are, and odd ones, are keys."""
    for path in (
        "a",
        "A-_9",
        "-",
        "_",
        "x" * 200,
        "/".join(["y" * 179] * 5),
        "/".join(["z"] * 450),
        "blocks/a",
    ):
        key = new_key(path)
        await write(storage, key, path.encode())
        assert await read(storage, key, 0, len(path)) == path.encode()
        await storage.delete([key])
        assert not await is_there(storage, key)


@pytest_twisted.ensureDeferred
async def test_blob_and_folder_of_the_same_name(storage: IStorageBackend) -> None:
    """`a`, `a/b` and `a/b/c`, in several versions, don't get in each other's
    way, in whatever order they come and go."""
    prefix = new_key().partition("/")[0]
    paths = ["a/b", "a", "a/b/c", "a", "a/b", "a/b/c/d"]
    keys = [new_key(path, prefix) for path in paths]
    for key in keys:
        await write(storage, key, key.encode())
    while keys:
        for key in keys:
            assert await read(storage, key, 0, len(key)) == key.encode()
        await storage.delete([keys.pop(len(keys) // 2)])


@pytest_twisted.ensureDeferred
async def test_many_at_a_time(storage: IStorageBackend) -> None:
    """More blobs than there are threads are written and read side by side."""

    async def write_and_read(number: int) -> None:
        key, content = new_key(), pattern(300_000, number * 1_000_000)
        await write(storage, key, content[:1000], content[1000:])
        assert await read(storage, key, 0, len(content)) == content

    await gatherResults([running(write_and_read(number)) for number in range(20)])
