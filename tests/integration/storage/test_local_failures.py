"""A disk that is full, broken or read-only (the module ``os`` is in its place:
nothing less breaks on demand)."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import frozen

from qabel_block.errors import BlobNotFound, StorageFull, Unavailable
from qabel_block.storage.local import directory_fds, incoming, removal
from qabel_block.storage.local import storage as local_storage
from qabel_block.storage.local.layout import INCOMING
from qabel_block.storage.local.storage import LocalStorage, LocalWriter
from qabel_block.util.threads import ThreadPool
from tests.integration.storage.blobs import INSTALLATION, new_key, pattern, read, write
from tests.integration.storage.conftest import ColdCache


@frozen
class BrokenDisk:
    """The module ``os``, one function of which always fails.

    :ivar after: how often it works before that.
    """

    name: str
    number: int
    calls: list[str]
    after: int = 0

    def __getattr__(self, name: str) -> Any:
        if name != self.name:
            return getattr(os, name)

        def fail(*arguments: Any, **options: Any) -> Any:
            self.calls.append(name)
            if len(self.calls) <= self.after:
                return getattr(os, name)(*arguments, **options)
            raise OSError(self.number, os.strerror(self.number))

        return fail


@pytest_twisted.async_yield_fixture
async def storage(tmp_path: Path, threads: ThreadPool) -> AsyncIterator[LocalStorage]:
    storage = LocalStorage(tmp_path / "objects", threads, ColdCache(1))
    await storage.bind(INSTALLATION)
    yield storage
    await storage.close()


async def write_all(writer: LocalWriter, content: bytes) -> None:
    await writer.write(content)
    await writer.finish()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("content", [b"x", pattern(200_000)], ids=len)
@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, StorageFull),
        (errno.EDQUOT, StorageFull),
        (errno.EIO, Unavailable),
        (errno.EROFS, Unavailable),
    ],
    ids=["full", "quota", "broken", "read-only"],
)
@pytest.mark.parametrize(
    ("module", "function", "after"),
    [
        (incoming, "open", 0),
        (incoming, "write", 0),
        (incoming, "fsync", 0),
        (incoming, "link", 0),
        (directory_fds, "mkdir", 1),
        (directory_fds, "fsync", 0),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)).rpartition(".")[2],
)
async def test_failing_upload(
    storage: LocalStorage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    function: str,
    after: int,
    number: int,
    expected: type[Exception],
    content: bytes,
) -> None:
    """An upload to a disk that is full says so, to a broken one that it can't be
    made; what was there before is intact, and no temporary file stays."""
    before = new_key()
    await write(storage, before, b"before")
    disk = BrokenDisk(function, number, [], after)
    writer = await storage.create(new_key("a/b"))
    with monkeypatch.context() as patch:
        patch.setattr(module, "os", disk)
        with pytest.raises(expected):
            await write_all(writer, content)
    assert len(disk.calls) > after
    await writer.abort()
    assert await read(storage, before, 0, 6) == b"before"
    assert list((tmp_path / "objects" / INCOMING).iterdir()) == []
    after_all = new_key("a/b")
    await write(storage, after_all, content)
    assert await read(storage, after_all, 0, len(content)) == content


@pytest_twisted.ensureDeferred
async def test_write_in_pieces(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that takes less than it was given is given the rest."""

    class Reluctant(BrokenDisk):
        def __getattr__(self, name: str) -> Any:
            if name != "write":
                return getattr(os, name)
            return lambda descriptor, data: os.write(descriptor, data[:777])

    monkeypatch.setattr(incoming, "os", Reluctant("write", 0, []))
    key = new_key()
    await write(storage, key, pattern(100_000))
    assert await read(storage, key, 0, 100_000) == pattern(100_000)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("function", ["open", "pread"])
@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.EMFILE])
async def test_failing_download(
    storage: LocalStorage,
    monkeypatch: pytest.MonkeyPatch,
    function: str,
    number: int,
) -> None:
    """A blob that can't be read is not a blob that is not there."""
    key = new_key()
    await write(storage, key, b"x")
    with monkeypatch.context() as patch:
        patch.setattr(local_storage, "os", BrokenDisk(function, number, []))
        with pytest.raises(Unavailable):
            await read(storage, key, 0, 1)
    assert await read(storage, key, 0, 1) == b"x"


@pytest_twisted.ensureDeferred
async def test_failing_in_the_middle_of_a_download(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails later fails the reader, which can still be closed."""
    key = new_key()
    await write(storage, key, pattern(1_000_000))
    reader = await storage.open(key, 0, 1_000_000)
    assert await reader.read()
    monkeypatch.setattr(local_storage, "os", BrokenDisk("pread", errno.EIO, []))
    with pytest.raises(Unavailable):
        await reader.read()
    await reader.close()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("module", "function"), [(removal, "unlink"), (directory_fds, "fsync")]
)
@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS, errno.EACCES])
async def test_failing_deletion(
    storage: LocalStorage,
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    function: str,
    number: int,
) -> None:
    """What may still be there does not count as deleted, each for itself; asking
    again helps."""
    keys = [new_key(), new_key()]
    for key in keys:
        await write(storage, key, b"x")
    with monkeypatch.context() as patch:
        patch.setattr(module, "os", BrokenDisk(function, number, []))
        failed = await storage.delete(keys)
    assert failed == dict.fromkeys(keys, os.strerror(number))
    assert await storage.delete(keys) == {}


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("number", [errno.EROFS, errno.EIO, errno.ENOENT])
async def test_failing_check(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The check says what is wrong in words."""
    monkeypatch.setattr(incoming, "os", BrokenDisk("open", number, []))
    with pytest.raises(Unavailable) as caught:
        await storage.check()
    assert caught.value.reason == os.strerror(number)


@pytest_twisted.ensureDeferred
async def test_check_of_a_full_disk(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk without any room is not ready."""
    monkeypatch.setattr(incoming, "os", BrokenDisk("write", errno.ENOSPC, []))
    with pytest.raises(Unavailable) as caught:
        await storage.check()
    assert caught.value.reason == "there is no space left beside the reserve"


@pytest_twisted.ensureDeferred
async def test_one_file_that_stays(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file that can't be deleted, as after a restore by root, is told apart from
    all others, which are deleted."""
    keys = [new_key("a", "p"), new_key("b", "p"), new_key("c/d", "p"), new_key()]
    for key in keys:
        await write(storage, key, b"x")
    disk = BrokenDisk("unlink", errno.EPERM, [], after=2)
    with monkeypatch.context() as patch:
        patch.setattr(removal, "os", disk)
        failed = await storage.delete(keys[:3])
    ((stays, reason),) = failed.items()
    assert reason == os.strerror(errno.EPERM)
    for key in keys[:3]:
        if key == stays:
            assert await read(storage, key, 0, 1) == b"x"
        else:
            with pytest.raises(BlobNotFound):
                await read(storage, key, 0, 1)
    assert await storage.delete(keys) == {}


UNSUPPORTED = [errno.EPERM, errno.ENOTSUP, errno.ENOSYS]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("content", [b"x", pattern(200_000)], ids=len)
@pytest.mark.parametrize("number", UNSUPPORTED)
async def test_file_system_without_hard_links(
    storage: LocalStorage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    content: bytes,
) -> None:
    """Where there are no hard links a file is renamed, and replaces none."""
    monkeypatch.setattr(incoming, "os", BrokenDisk("link", number, []))
    await storage.check()
    key = new_key("a/b")
    await write(storage, key, content)
    with pytest.raises(Unavailable) as caught:
        await write(storage, key, b"other")
    assert caught.value.reason == os.strerror(errno.EEXIST)
    assert await read(storage, key, 0, len(content)) == content
    assert list((tmp_path / "objects" / INCOMING).iterdir()) == []


@pytest_twisted.ensureDeferred
async def test_file_system_that_can_only_replace(
    storage: LocalStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a file can't be named without replacing another, the check says so before
    an upload does, and nothing is left over."""
    with monkeypatch.context() as patch:
        patch.setattr(incoming, "os", BrokenDisk("link", errno.EPERM, []))
        patch.setattr(incoming, "_renameat2", None)
        with pytest.raises(Unavailable, match="neither hard links nor"):
            await storage.check()
        with pytest.raises(Unavailable, match="neither hard links nor"):
            await write(storage, new_key(), b"x")
    assert list((tmp_path / "objects" / INCOMING).iterdir()) == []
    await storage.check()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
async def test_file_system_without_fsync_of_directories(
    storage: LocalStorage,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    """Where directories can't be synced the whole file system is; where that can't be
    either, the check says so."""
    monkeypatch.setattr(directory_fds, "os", BrokenDisk("fsync", number, []))
    synced: list[int] = []

    def sync(descriptor: int) -> int:
        synced.append(descriptor)
        return 0

    with monkeypatch.context() as patch:
        patch.setattr(directory_fds, "_syncfs", sync)
        await write(storage, new_key("a"), b"x")
    assert synced
    await write(storage, key := new_key("a"), b"x")
    assert await storage.delete([key]) == {}
    monkeypatch.setattr(directory_fds, "_syncfs", None)
    with pytest.raises(Unavailable, match="make directories durable"):
        await storage.check()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("content", [b"x", pattern(200_000)], ids=len)
async def test_file_system_without_locks(
    storage: LocalStorage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: bytes,
) -> None:
    """Where files can't be locked, that is said, and neither a descriptor nor a file is
    left each time."""

    def fail(_descriptor: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    await storage.check()
    before = len(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", fail)
        for _ in range(5):
            with pytest.raises(Unavailable, match="locks"):
                await storage.check()
            with pytest.raises(Unavailable, match="locks"):
                await write(storage, new_key(), content)
    assert len(os.listdir("/proc/self/fd")) == before
    assert list((tmp_path / "objects" / INCOMING).iterdir()) == []
