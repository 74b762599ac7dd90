"""What the kernel has in memory is read without a thread; all else is not."""

import os
import stat
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
