"""The body of a request to S3, with a limit of its time."""

from __future__ import annotations

import io
from collections.abc import Callable
from hashlib import md5

LEAST_RATE = 64 * 1024
"""Bytes a second below which a store counts as one that hangs."""

LEAST_SECONDS = 15.0


class TooSlow(Exception):
    """The body was not taken in the time that is allowed for it."""


class UploadBody(io.RawIOBase):
    """Bytes that are sent in small pieces.

    All at once they would have to be taken within the time limit for one step,
    however many they are. Instead there is a limit for all steps and all
    attempts together.

    :param now: seconds, from whenever.
    :ivar digest: the MD5, for the transport, by stores that know no other.
        Nothing relies on its strength.
    """

    def __init__(self, data: bytes | memoryview, now: Callable[[], float]) -> None:
        super().__init__()
        self._data = memoryview(data)
        self._at = 0
        self._now = now
        self.digest = md5(self._data, usedforsecurity=False).digest()
        self._deadline = now() + max(LEAST_SECONDS, len(data) / LEAST_RATE)

    def __len__(self) -> int:
        return len(self._data)

    def close(self) -> None:
        """Let go of the bytes: botocore's request, which keeps the body, stays
        for as long as the garbage collector pleases."""
        self._data = memoryview(b"")
        super().close()

    def readable(self) -> bool:
        """Return ``True``."""
        return True

    def seekable(self) -> bool:
        """Return ``True``: each attempt begins at the beginning."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill the buffer as far as there is something left.

        :raises TooSlow: if the time for that is over.
        """
        if self._now() > self._deadline:
            raise TooSlow
        piece = self._data[self._at : self._at + len(buffer)]
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place within the body."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._data)}
        self._at = min(max(base[whence] + offset, 0), len(self._data))
        return self._at

    def tell(self) -> int:
        """Return where the next piece begins."""
        return self._at
