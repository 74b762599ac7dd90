"""Lets a file's bytes set out for the disk before anybody waits for them."""

from __future__ import annotations

import ctypes

_WRITE = 2
"""``SYNC_FILE_RANGE_WRITE``: begin, and do not wait."""

_sync_file_range = getattr(ctypes.CDLL(None), "sync_file_range", None)
if _sync_file_range is not None:
    _sync_file_range.argtypes = (
        ctypes.c_int,
        ctypes.c_int64,
        ctypes.c_int64,
        ctypes.c_uint,
    )


def start_writeback(descriptor: int, start: int = 0, length: int = 0) -> None:
    """Begin to write a part of a file to the disk. A hint, where the system knows
    it: only ``fsync`` says that the file is there.

    :param start: bytes from the beginning.
    :param length: bytes; 0 for all that follow.
    """
    if _sync_file_range is not None:
        _sync_file_range(descriptor, start, length, _WRITE)
