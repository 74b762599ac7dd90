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


def start_writeback(descriptor: int) -> None:
    """Begin to write a file to the disk. A hint, where the system knows it: only
    ``fsync`` says that the file is there."""
    if _sync_file_range is not None:
        _sync_file_range(descriptor, 0, 0, _WRITE)
