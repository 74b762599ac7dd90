"""Temporary files of uploads that are not complete yet."""

from __future__ import annotations

import ctypes
import errno
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

_PROBE = ".probe"
_UNSUPPORTED = frozenset({errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK})
"""What a file system answers that has no hard links."""

_NO_LINKS = "its file system has neither hard links nor renameat2 with RENAME_NOREPLACE"
_NO_REPLACE = 1
"""``RENAME_NOREPLACE``."""

_renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
if _renameat2 is not None:
    _renameat2.argtypes = (
        *(ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p),
        ctypes.c_uint,
    )

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
            try:
                # A sweep may have been between the two.
                if _lock(self.descriptor) and _is_there(self.descriptor):
                    return
            except OSError:
                # Not every file system has locks.
                self.end(fds)
                raise
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
                _name(self._name, fds.folder((INCOMING,)), name, fds.folder(folder))
                return
            except FileNotFoundError:
                # Again if another process removes a folder that it finds empty.
                if attempt == ATTEMPTS:
                    raise
                fds.forget(folder)
                with suppress(FileNotFoundError):
                    fds.make(folder)

    def try_link(self, fds: DirectoryFds) -> None:
        """Find out whether files here can be given their final names.

        :raises OSError: if not.
        """
        name = f"{self._name}{_PROBE}"
        self.link(fds, (INCOMING,), name)
        try:
            fds.sync([(INCOMING,)])
        finally:
            os.unlink(name, dir_fd=fds.folder((INCOMING,)))

    def end(self, fds: DirectoryFds) -> None:
        """Remove the file from ``.incoming``, whatever other name it has got, and
        close it."""
        try:
            os.unlink(self._name, dir_fd=fds.folder((INCOMING,)))
        except OSError:
            pass  # the sweep will
        finally:
            os.close(self.descriptor)


def _name(source: str, source_folder: int, name: str, folder: int) -> None:
    """Give a file a name that nothing has, or another one if it can have but one.

    :raises FileExistsError: if something has that name.
    :raises OSError: if the file can't get it.
    """
    try:
        # A link fails where a rename would replace what is there.
        os.link(
            source,
            name,
            src_dir_fd=source_folder,
            dst_dir_fd=folder,
            follow_symlinks=False,
        )
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        number = _rename_new(source, source_folder, name, folder)
        if number in (errno.ENOSYS, errno.EINVAL):
            raise OSError(error.errno, _NO_LINKS) from error
        if number:
            raise OSError(number, os.strerror(number)) from None


def _rename_new(source: str, source_folder: int, name: str, folder: int) -> int:
    """Rename a file unless something has the new name; return 0 or an error number."""
    if _renameat2 is None:
        return errno.ENOSYS
    names = os.fsencode(source), os.fsencode(name)
    if _renameat2(source_folder, names[0], folder, names[1], _NO_REPLACE) == 0:
        return 0
    return ctypes.get_errno()


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
