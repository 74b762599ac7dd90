"""Temporary files of uploads that are not complete yet."""

from __future__ import annotations

import ctypes
import fcntl
import os
from contextlib import suppress
from secrets import token_hex

from qabel_block.storage.local.directory_fds import DirectoryFds, Path
from qabel_block.storage.local.layout import INCOMING

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


_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

STRIDE = 8 * 1024 * 1024
"""Bytes that set out for the disk together, while more come in: who waits for a large
file to be durable would wait for all of it otherwise."""

ATTEMPTS = 100
"""How often folders are made anew that others remove in the same moment."""


class IncomingFile:
    """A new file below ``.incoming``, open for writing.

    :raises OSError: if it can't be made.
    """

    def __init__(self, fds: DirectoryFds) -> None:
        self._written = 0
        self._set_out = 0
        folder = fds.folder((INCOMING,))
        while True:
            self._name = token_hex(16)
            self.descriptor = os.open(self._name, _NEW, 0o640, dir_fd=folder)
            # A sweep may have been between the two.
            if _lock(self.descriptor) and _is_there(self.descriptor):
                return
            os.close(self.descriptor)

    def write(self, data: bytes) -> None:
        """Append all of ``data``."""
        view = memoryview(data)
        while view:
            view = view[os.write(self.descriptor, view) :]
        self._written += len(data)
        waiting = self._written - self._set_out
        if waiting >= STRIDE:
            start_writeback(self.descriptor, self._set_out, waiting)
            self._set_out = self._written

    def sync(self) -> None:
        """Make durable what was written."""
        os.fsync(self.descriptor)

    def link(self, fds: DirectoryFds, folder: Path, name: str) -> None:
        """Give the file its final name, which is not durable yet.

        :param folder: made if it is not there.
        :raises FileExistsError: if there is something of this name: a blob is
            never replaced.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                # A link fails where a rename would replace what is there.
                os.link(
                    self._name,
                    name,
                    src_dir_fd=fds.folder((INCOMING,)),
                    dst_dir_fd=fds.folder(folder),
                    follow_symlinks=False,
                )
                return
            except FileNotFoundError:
                # Again if another process removes a folder that it finds empty.
                if attempt == ATTEMPTS:
                    raise
                fds.forget(folder)
                with suppress(FileNotFoundError):
                    fds.make(folder)

    def end(self, fds: DirectoryFds) -> None:
        """Remove the file from ``.incoming``, whatever other name it has got, and
        close it."""
        try:
            os.unlink(self._name, dir_fd=fds.folder((INCOMING,)))
        except OSError:
            pass  # the sweep will
        finally:
            os.close(self.descriptor)


def sweep(root: str) -> int:
    """Remove what crashed processes have left; return how many files."""
    count = 0
    with DirectoryFds(root) as fds:
        folder = fds.folder((INCOMING,))
        for name in os.listdir(folder):
            try:
                descriptor = os.open(
                    name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder
                )
            except OSError:
                continue  # gone, or nothing of ours
            try:
                if _lock(descriptor):
                    os.unlink(name, dir_fd=folder)
                    count += 1
            except FileNotFoundError:
                pass
            finally:
                os.close(descriptor)
    return count


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_there(descriptor: int) -> bool:
    return os.fstat(descriptor).st_nlink > 0
