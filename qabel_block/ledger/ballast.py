"""Keeps some room on a disk, to be given up once the disk is full."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

BALLAST_BYTES = 4 * 1024**2
"""Enough for SQLite's write-ahead log between two checkpoints."""

FULL_BYTES = 1024**2
"""A disk with less room than that is full."""


class Ballast:
    """A file without content of any use.

    Deleting objects takes room in SQLite's log before it frees any. On a disk that is
    full nobody could make room without this.

    :param path: of the file; beside it, on the same disk, is what it is kept for.
    :param size: bytes; 0 to keep nothing.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._size = size

    def allocate(self) -> None:
        """Make the file, unless it is there or room is scarce. Never raises."""
        with suppress(OSError):
            if not self._size or self._path.exists():
                return
            if self._free() < self._size + FULL_BYTES:
                return
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
            descriptor = os.open(self._path, flags, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, self._size)
                os.fsync(descriptor)
            except OSError:
                self._path.unlink()
            finally:
                os.close(descriptor)

    def release(self) -> bool:
        """Give its room back if the disk is full; return whether that was done.

        Never raises.
        """
        with suppress(OSError):
            if self._size and self._free() < FULL_BYTES:
                self._path.unlink()
                return True
        return False

    def _free(self) -> int:
        disk = os.statvfs(self._path.parent)
        return disk.f_bavail * disk.f_frsize


def ballast_for(path: Path, size: int = BALLAST_BYTES) -> Ballast:
    """Return the ballast of a database's file."""
    return Ballast(path.with_name(f"{path.name}-ballast"), size)
