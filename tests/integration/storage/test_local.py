"""What is particular to blobs in a local directory."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from qabel_block.errors import BlobNotFound, Unavailable, WrongStorage
from qabel_block.names import IDENTITY
from qabel_block.storage.local.layout import INCOMING, file_of
from qabel_block.storage.local.storage import LocalStorage
from qabel_block.util.threads import ThreadPool
from tests.integration.storage.blobs import INSTALLATION, new_key, pattern, read, write
from tests.integration.storage.process import come_and_go, other_process

PREFIX = "6f7a4d0e-0000-4000-8000-000000000000"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "objects"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder beside the storage directory, with a file in it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    return outside


@pytest.fixture
def untouched(outside: Path) -> Iterator[None]:
    """What is outside stays as it was."""
    yield
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert (outside / "secret").read_bytes() == b"secret"


@pytest_twisted.async_yield_fixture
async def local(root: Path, threads: ThreadPool) -> AsyncIterator[LocalStorage]:
    storage = LocalStorage(root, threads)
    await storage.bind(INSTALLATION)
    yield storage
    await storage.close()


def everything_below(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


@pytest_twisted.ensureDeferred
@pytest.mark.usefixtures("untouched")
async def test_link_in_place_of_a_file(
    local: LocalStorage, root: Path, outside: Path
) -> None:
    """A symbolic link under a blob's name is no blob, is never written through,
    and deleting it deletes only the link."""
    key = new_key("a", PREFIX)
    file = root.joinpath(*file_of(key))
    file.parent.mkdir()
    file.symlink_to(outside / "secret")
    with pytest.raises(BlobNotFound):
        await read(local, key, 0, 1)
    writer = await local.create(key)
    await writer.write(b"x")
    with pytest.raises(Unavailable):
        await writer.finish()
    await writer.abort()
    assert file.is_symlink()
    await local.delete([key])
    assert everything_below(root) == [INCOMING, IDENTITY]


@pytest_twisted.ensureDeferred
@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("depth", [0, 1, 2])
async def test_link_in_place_of_a_folder(
    local: LocalStorage, root: Path, outside: Path, depth: int
) -> None:
    """A symbolic link where a folder should be, the prefix's included, leads
    nowhere."""
    key = new_key("secret/secret/secret", PREFIX)
    names = file_of(key)
    link = root.joinpath(*names[: depth + 1])
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(outside)
    (version,) = {names[-1]}
    assert not (outside / version).exists()
    with pytest.raises(BlobNotFound):
        await read(local, key, 0, 1)
    writer = await local.create(key)
    await writer.write(b"x")
    with pytest.raises(Unavailable):
        await writer.finish()
    await writer.abort()
    await local.delete([key])
    assert link.is_symlink()


@pytest_twisted.ensureDeferred
@pytest.mark.usefixtures("untouched")
async def test_link_in_place_of_the_temporary_folder(
    local: LocalStorage, root: Path, outside: Path
) -> None:
    """Temporary files are not made through a symbolic link, nor swept there."""
    (root / INCOMING).rmdir()
    (root / INCOMING).symlink_to(outside)
    with pytest.raises(Unavailable):
        await write(local, new_key(), pattern(100_000))
    with pytest.raises(Unavailable):
        await local.check()
    await local.bind(INSTALLATION)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
async def test_what_is_no_file(local: LocalStorage, root: Path, make: object) -> None:
    """A folder or a pipe under a blob's name is no blob; nobody waits for it."""
    key = new_key("a", PREFIX)
    file = root.joinpath(*file_of(key))
    file.parent.mkdir()
    make(file)  # type: ignore[operator]
    with pytest.raises(BlobNotFound):
        await read(local, key, 0, 1)


@pytest_twisted.ensureDeferred
async def test_no_empty_folders_stay(local: LocalStorage, root: Path) -> None:
    """With the last blob in it goes a folder, and so up to the root; a folder in
    which there is anything stays."""
    keys = [new_key(path, PREFIX) for path in ("a/b/c/d", "a/b/e", "a", "f/g")]
    for key in keys:
        await write(local, key, b"x")
    (root / PREFIX / "f~" / "foreign").write_bytes(b"")
    await local.delete(keys[:1])
    assert not (root / PREFIX / "a~" / "b~" / "c~").exists()
    assert await read(local, keys[1], 0, 1) == b"x"
    await local.delete(keys[1:])
    assert everything_below(root) == [
        INCOMING,
        IDENTITY,
        PREFIX,
        f"{PREFIX}/f~",
        f"{PREFIX}/f~/foreign",
    ]


@pytest_twisted.ensureDeferred
async def test_nothing_stays_of_an_aborted_blob(
    local: LocalStorage, root: Path
) -> None:
    """Neither a file nor a folder is left of a blob that was not finished."""
    for content in (b"", b"x", pattern(100_000)):
        writer = await local.create(new_key("a/b"))
        await writer.write(content)
        await writer.abort()
    assert everything_below(root) == [INCOMING, IDENTITY]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("umask", "folder", "file"), [(0o022, 0o750, 0o640), (0o077, 0o700, 0o600)]
)
async def test_who_may_read(
    tmp_path: Path, threads: ThreadPool, umask: int, folder: int, file: int
) -> None:
    """Files and folders are not to be read by other users of the machine, but for
    a group, and that only if the umask lets it."""
    before = os.umask(umask)
    try:
        local = LocalStorage(tmp_path / "objects", threads)
        await local.bind(INSTALLATION)
        await write(local, new_key("a/b", PREFIX), b"x")
    finally:
        os.umask(before)
    paths = [tmp_path / "objects", *(tmp_path / "objects" / PREFIX).rglob("*")]
    modes = {path.is_dir(): stat.S_IMODE(path.stat().st_mode) for path in paths}
    assert modes == {True: folder, False: file}


@pytest_twisted.ensureDeferred
async def test_a_blob_is_never_replaced(local: LocalStorage) -> None:
    """A second blob of the same key is refused; the first stays as it is."""
    key = new_key()
    await write(local, key, b"first")
    with pytest.raises(Unavailable):
        await write(local, key, b"other")
    assert await read(local, key, 0, 5) == b"first"


@pytest_twisted.ensureDeferred
async def test_directory_that_is_gone(local: LocalStorage, root: Path) -> None:
    """A directory that is gone is a disk that is not mounted: nothing is made in
    its place, and no blob counts as missing or as deleted."""
    key = new_key("a", PREFIX)
    await write(local, key, b"x")
    elsewhere = root.with_name("elsewhere")
    root.rename(elsewhere)
    with pytest.raises(Unavailable):
        await read(local, key, 0, 1)
    with pytest.raises(Unavailable):
        await local.delete([key])
    with pytest.raises(Unavailable):
        await write(local, new_key(), b"x")
    with pytest.raises(Unavailable):
        await local.check()
    assert not root.exists()
    elsewhere.rename(root)
    await local.check()
    assert await read(local, key, 0, 1) == b"x"


@pytest_twisted.ensureDeferred
async def test_directory_that_comes_later(root: Path, threads: ThreadPool) -> None:
    """A storage whose parent directory is not there yet can be used from when it
    is."""
    storage = LocalStorage(root / "below", threads)
    assert await storage.identity() is None
    with pytest.raises(Unavailable):
        await storage.bind(INSTALLATION)
    with pytest.raises(Unavailable):
        await storage.check()
    with pytest.raises(Unavailable):
        await storage.create(new_key())
    root.mkdir()
    await storage.bind(INSTALLATION)
    await storage.check()
    key = new_key()
    await write(storage, key, b"x")
    assert await read(storage, key, 0, 1) == b"x"


@pytest_twisted.ensureDeferred
async def test_sweep_after_a_crash(
    local: LocalStorage, root: Path, threads: ThreadPool
) -> None:
    """What a killed process was writing is removed at the next start; what is
    still being written is not."""
    writer = await local.create(key := new_key())
    await writer.write(pattern(100_000))
    with other_process("half", root, PREFIX) as process:
        assert process.stdout is not None
        assert await deferToThread(process.stdout.readline) == b"begun\n"
        assert len(list((root / INCOMING).iterdir())) == 2
        process.kill()
    await LocalStorage(root, threads).bind(INSTALLATION)
    assert len(list((root / INCOMING).iterdir())) == 1
    await writer.finish()
    assert await read(local, key, 0, 100_000) == pattern(100_000)
    assert list((root / INCOMING).iterdir()) == []


@pytest_twisted.ensureDeferred
async def test_two_processes(local: LocalStorage, root: Path) -> None:
    """Processes that store and delete below the same folders, which come and go
    with the blobs, don't disturb each other."""
    with other_process("come-and-go", root, PREFIX) as process:
        assert process.stdout is not None
        assert await deferToThread(process.stdout.readline) == b"begun\n"
        await come_and_go(local, PREFIX)
        assert await deferToThread(process.wait) == 0
    assert everything_below(root) == [INCOMING, IDENTITY]


@pytest_twisted.ensureDeferred
async def test_another_disk_in_its_place(local: LocalStorage, root: Path) -> None:
    """Into a directory that is not the installation's any more nothing is written,
    whatever else is there; its blobs don't count as missing or deleted. When the
    right one is back, so is everything."""
    key = new_key("a", PREFIX)
    await write(local, key, b"x")
    elsewhere = root.with_name("elsewhere")
    root.rename(elsewhere)
    (root / INCOMING).mkdir(parents=True)
    for identity in (None, "2f0c4d6e-0000-4000-8000-000000000000"):
        if identity is not None:
            (root / IDENTITY).write_text(f"{identity}\n")
        before = everything_below(root)
        for content in (b"x", pattern(100_000)):
            with pytest.raises(WrongStorage):
                await write(local, new_key(), content)
        with pytest.raises(WrongStorage):
            await read(local, key, 0, 1)
        with pytest.raises(WrongStorage):
            await local.delete([key])
        with pytest.raises(WrongStorage):
            await local.check()
        assert everything_below(root) == before
    root.rename(root.with_name("wrong"))
    elsewhere.rename(root)
    await local.check()
    await write(local, new_key(), b"x")
    assert await read(local, key, 0, 1) == b"x"


@pytest_twisted.ensureDeferred
async def test_foreign_directory_is_not_touched(
    local: LocalStorage, root: Path, threads: ThreadPool
) -> None:
    """Who tries to bind another installation's directory changes nothing in it."""
    (root / INCOMING).rmdir()
    other = LocalStorage(root, threads)
    with pytest.raises(WrongStorage):
        await other.bind("2f0c4d6e-0000-4000-8000-000000000000")
    assert everything_below(root) == [IDENTITY]
    with pytest.raises(Unavailable):
        await other.create(new_key())
