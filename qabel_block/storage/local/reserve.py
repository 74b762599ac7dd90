"""Keeps a part of the disk free, so that a full one can be emptied again."""

from __future__ import annotations

import os
from collections.abc import Callable

from qabel_block.errors import StorageFull

SMALLEST, LARGEST = 16 * 2**20, 2**30
"""Bytes between which the reserve is by default."""

PART = 100
"""By default, one part in so many of the disk."""

SECONDS = 1.0
"""How long what is free is taken for known, but for what is written here."""


class Reserve:
    """Refuses uploads while less than a reserve is free.

    May be used in several threads: it need not be exact.

    :param size: bytes; ``None`` for the default.
    :param now: seconds, of a clock that never goes back.
    """

    def __init__(self, size: int | None, now: Callable[[], float]) -> None:
        self._size = size
        self._now = now
        self._left = 0
        self._until: float | None = None

    def require(self, descriptor: int, size: int) -> None:
        """Find out whether there is room for some more bytes; may block.

        :param descriptor: of a directory on the disk.
        :raises StorageFull: if less than the reserve would be left.
        :raises OSError: if it can't be found out.
        """
        if size > self._left or self._until is None or self._now() > self._until:
            self._left = self._room(descriptor)
            self._until = self._now() + SECONDS
        if size > self._left:
            raise StorageFull
        self._left -= size

    def _room(self, descriptor: int) -> int:
        """Return the bytes that are free beside the reserve."""
        disk = os.fstatvfs(descriptor)
        reserve = self._size
        if reserve is None:
            total = disk.f_blocks * disk.f_frsize
            reserve = max(SMALLEST, min(LARGEST, total // PART))
        return disk.f_bavail * disk.f_frsize - reserve
