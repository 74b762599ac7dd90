"""Descriptors of directories below the storage directory, opened without links.

Every step is relative to an open directory and follows no symbolic link, so
whatever somebody puts there, nothing outside is touched. All calls block.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Self

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOTSUP, errno.ENOSYS})
_NOT_DURABLE = "its file system can't make directories durable"

_syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)

Path = tuple[str, ...]
"""The names of folders, the outermost first; ``()`` is the root."""


class DirectoryFds:
    """Caches open directory descriptors until the block ends: each is opened once.

    All methods raise ``OSError`` if a folder is not there, or is no directory.

    :param root: may be a symbolic link: it is the operator's word.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._open: dict[Path, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()

    def folder(self, path: Path = ()) -> int:
        """Return the descriptor of a folder."""
        for above in ancestry(path):
            if above not in self._open:
                self._open[above] = self._enter(above)
        return self._open[path]

    def make(self, path: Path) -> None:
        """Make folders that are not there yet. Like files, a group may read them if
        the umask lets it: nginx may be in it."""
        for above in ancestry(path):
            if above:
                with suppress(FileExistsError):
                    os.mkdir(above[-1], 0o750, dir_fd=self.folder(above[:-1]))

    def forget(self, path: Path) -> None:
        """Close the folders on the way: others may have removed them, and made
        new ones of the same names."""
        for above in ancestry(path):
            descriptor = self._open.pop(above, None)
            if descriptor is not None:
                os.close(descriptor)

    def sync(self, paths: Iterable[Path]) -> None:
        """Make what is in folders durable, and their own entries.

        All of them up to the root, since a folder may have been made a moment
        ago by another process that has not made it durable yet. One that is
        clean costs little.
        """
        folders = {above for path in paths for above in ancestry(path)}
        for path in sorted(folders, key=len, reverse=True):
            sync_directory(self.folder(path))

    def _enter(self, path: Path) -> int:
        if not path:
            return os.open(self._root, _DIRECTORY & ~os.O_NOFOLLOW)
        return open_below(path[-1], self._open[path[:-1]])


def sync_directory(descriptor: int) -> None:
    """Make the entries of a directory durable.

    Where a file system can't do that for one directory, it is asked to for all that
    it has.

    :raises OSError: if it can't be done.
    """
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        if _syncfs is None or _syncfs(descriptor) != 0:
            raise OSError(error.errno, _NOT_DURABLE) from error


def open_below(name: str, folder: int) -> int:
    """Open a folder in another that is open, and return its descriptor.

    :raises OSError: if it is not there, or is no directory.
    """
    return os.open(name, _DIRECTORY, dir_fd=folder)


def open_far_below(path: Path, folder: int) -> int:
    """Open a folder any number of levels below one that is open, which stays open.

    :param path: not empty.
    :raises OSError: if it is not there, or is no directory.
    """
    descriptor = open_below(path[0], folder)
    for name in path[1:]:
        above = descriptor
        try:
            descriptor = open_below(name, above)
        finally:
            os.close(above)
    return descriptor


def ancestry(path: Path) -> Sequence[Path]:
    """Return the folders on the way to a folder: the root first, itself last."""
    return [path[:depth] for depth in range(len(path) + 1)]
