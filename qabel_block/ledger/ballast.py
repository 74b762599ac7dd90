"""Keeps some room on a disk, to be given up once the disk is full."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path

BALLAST_BYTES = 4 * 1024**2
"""Enough for SQLite's write-ahead log between two checkpoints."""

PREALLOCATED_BYTES = BALLAST_BYTES // 4
"""What the database and its log take of that, each."""

FULL_BYTES = 1024**2
"""A disk with less room than that is full."""

_CHECKPOINT = "PRAGMA wal_checkpoint(RESTART)"


class Ballast:
    """A file without content of any use.

    Deleting objects takes room in SQLite's log before it frees any. On a disk that is
    full nobody could make room without this. As soon as it is given up, the database
    is to :func:`preallocate`, before others use the room.

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


def preallocate(connection: sqlite3.Connection) -> None:
    """Let a database's file and its log grow, for changes to come.

    :raises sqlite3.Error: if there is none.
    """
    connection.execute("DROP TABLE IF EXISTS preallocated")
    connection.execute("CREATE TABLE preallocated (bytes BLOB)")
    connection.execute(
        "INSERT INTO preallocated VALUES (zeroblob(?))", (PREALLOCATED_BYTES,)
    )
    restart_log(connection)
    # Its pages stay in the file, for whatever comes.
    connection.execute("DROP TABLE preallocated")


def restart_log(connection: sqlite3.Connection) -> None:
    """Let the next change begin at the log's start, where it takes no room.

    :raises sqlite3.Error: if the database's file would have to grow for that.
    """
    connection.execute(_CHECKPOINT).fetchall()
