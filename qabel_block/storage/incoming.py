"""Files that are not yet whole.

Each is locked (``flock``) by the process that writes it. A file without a lock
is the leftover of a crash, and the sweep removes it, whatever other processes
use the same directory. All calls block.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from contextlib import suppress
from secrets import token_hex

from qabel_block.storage import folders
from qabel_block.storage.layout import INCOMING

_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

ATTEMPTS = 100
"""How often folders are made anew that others remove in the same moment."""


class IncomingFile:
    """A new file below ``.incoming``, open for writing.

    :raises OSError: if it can't be made.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        while True:
            self._name = token_hex(16)
            with folders.opened(root, [INCOMING]) as (*_, folder):
                self._descriptor = os.open(self._name, _NEW, 0o640, dir_fd=folder)
                # A sweep may have been between the two.
                if _lock(self._descriptor) and _is_there(self._descriptor):
                    return
            os.close(self._descriptor)

    def write(self, data: bytes) -> None:
        """Append all of ``data``."""
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def publish(self, names: tuple[str, ...]) -> None:
        """Make the file durable under its final name, and close it.

        :param names: folders, which are made, and file.
        :raises FileExistsError: if there is something of this name: a blob is
            never replaced.
        """
        os.fsync(self._descriptor)
        *path, last = names
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._link(path, last)
                break
            except FileNotFoundError:
                # Again if another process removes a folder that it finds empty.
                if attempt == ATTEMPTS:
                    raise
                with suppress(FileNotFoundError):
                    folders.make(self._root, path)
        os.close(self._descriptor)

    def _link(self, path: Sequence[str], last: str) -> None:
        with (
            folders.opened(self._root, [INCOMING]) as (*_, incoming),
            folders.opened(self._root, path) as descriptors,
        ):
            # A link fails where a rename would replace what is there.
            os.link(
                self._name,
                last,
                src_dir_fd=incoming,
                dst_dir_fd=descriptors[-1],
                follow_symlinks=False,
            )
            folders.sync(descriptors)
            os.unlink(self._name, dir_fd=incoming)

    def discard(self) -> None:
        """Remove the file and close it."""
        try:
            with folders.opened(self._root, [INCOMING]) as (*_, folder):
                os.unlink(self._name, dir_fd=folder)
        except OSError:
            pass  # the sweep will
        finally:
            os.close(self._descriptor)


def sweep(root: str) -> int:
    """Remove what crashed processes have left; return how many files."""
    count = 0
    with folders.opened(root, [INCOMING]) as (*_, folder):
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
