"""What the kernel has in memory is read without a thread; all else is not."""

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from qabel_block.storage.local.page_cache import PageCache

BODY = bytes(range(256)) * 16


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = Path(os.path.realpath(tmp_path)) / "folder" / "file"
    file.parent.mkdir()
    file.write_bytes(BODY)
    return file


def test_file_in_memory(file: Path) -> None:
    """A file that was just written is opened and read from any place on, no more
    than asked for and no more than a buffer at a time."""
    cache = PageCache(1024)
    descriptor = cache.open(os.fsencode(file))
    assert descriptor is not None
    assert cache.read(descriptor, 1000, 0) == BODY[:1000]
    assert cache.read(descriptor, 5000, 100) == BODY[100:1124]
    assert cache.read(descriptor, 1024, len(BODY) - 10) == BODY[-10:]
    assert cache.read(descriptor, 1024, len(BODY)) == b""
    os.close(descriptor)


def test_what_is_no_file(file: Path) -> None:
    """Folders, pipes, links and what lies behind links are not opened, nor what
    is not there."""
    fifo, link, way = (file.parent / name for name in ("fifo", "link", "way"))
    os.mkfifo(fifo)
    link.symlink_to(file)
    way.symlink_to(file.parent)
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    for path in (file.parent, fifo, link, way / "file", file / "x", file.parent / "no"):
        assert PageCache(1).open(os.fsencode(path)) is None


def test_what_can_not_be_read(file: Path) -> None:
    """What the kernel refuses to read is as if it were not in memory."""
    descriptor = os.open(file, os.O_WRONLY)
    assert PageCache(10).read(descriptor, 10, 0) == b""
    os.close(descriptor)


LARGE = bytes(range(251)) * 4000


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a connection; the first does not block."""
    near, far = socket.socketpair()
    near.setblocking(False)
    with near, far:
        yield near, far


def _received(far: socket.socket, size: int) -> bytes:
    pieces = b""
    while len(pieces) < size:
        pieces += far.recv(size - len(pieces))
    return pieces


@pytest.mark.parametrize("offset", [0, 1, 4095, 4096, 900_001])
def test_send(
    file: Path, sockets: tuple[socket.socket, socket.socket], offset: int
) -> None:
    """What is in memory is sent from any place on, until the socket is full."""
    near, far = sockets
    file.write_bytes(LARGE)
    descriptor = os.open(file, os.O_RDONLY)
    cache, at = PageCache(1), offset
    while at < len(LARGE):
        sent = cache.send(near.fileno(), descriptor, len(LARGE) - at, at)
        if sent is None:
            far.recv(1)
            break
        assert sent > 0
        assert _received(far, sent // 2) == LARGE[at : at + sent // 2]
        assert _received(far, sent - sent // 2) == LARGE[at + sent // 2 : at + sent]
        at += sent
    os.close(descriptor)


def test_send_to_a_full_socket(
    file: Path, sockets: tuple[socket.socket, socket.socket]
) -> None:
    """A socket that takes nothing now is told from a file that is not in memory."""
    near, _far = sockets
    file.write_bytes(LARGE)
    descriptor = os.open(file, os.O_RDONLY)
    while (
        sent := PageCache(1).send(near.fileno(), descriptor, 100_000, 0)
    ) is not None:
        assert sent > 0
    os.close(descriptor)


def test_send_what_is_not_in_memory(
    file: Path, sockets: tuple[socket.socket, socket.socket]
) -> None:
    """A file of which a page is not in memory is not sent, nor waited for."""
    file.write_bytes(LARGE)
    descriptor = os.open(file, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    if PageCache(1000).read(descriptor, 1000, 0):
        pytest.skip("this file system keeps everything in memory")
    cache = PageCache(1)
    assert cache.send(sockets[0].fileno(), descriptor, len(LARGE), 0) == 0
    os.pread(descriptor, len(LARGE), 0)
    assert cache.send(sockets[0].fileno(), descriptor, len(LARGE), 0) != 0
    os.close(descriptor)


def test_send_what_can_not_be_sent(
    file: Path, sockets: tuple[socket.socket, socket.socket]
) -> None:
    """What the kernel does not send, for whatever reason, is to be read."""
    near, far = sockets
    descriptor = os.open(file, os.O_WRONLY)
    assert PageCache(1).send(near.fileno(), descriptor, 10, 0) == 0
    os.close(descriptor)
    descriptor = os.open(file, os.O_RDONLY)
    far.close()
    assert PageCache(1).send(near.fileno(), descriptor, 10, 0) == 0
    os.close(descriptor)
