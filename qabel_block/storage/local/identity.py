"""The file that says to which installation a storage directory belongs.

A directory whose disk is not mounted looks like an empty one, and any other disk may
be in its place. So this file is looked at whenever something is written. All calls
block.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from qabel_block.errors import WrongStorage
from qabel_block.names import IDENTITY
from qabel_block.storage.local.atomic_write import SmallFile, store
from qabel_block.storage.local.directory_fds import DirectoryFds

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_LONGEST = 100
"""Bytes of the file that are read."""

_NO_DIRECTORY = "its directory is not there; is its disk mounted?"
_NO_IDENTITY = "its directory has lost its identity; is its disk mounted?"
_FOREIGN = "its directory belongs to another installation; is the right disk mounted?"


class IdentityFile:
    """The identity of one storage directory.

    :param root: the directory.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._expected: str | None = None
        self._seen: tuple[int, int, int] | None = None

    def read(self) -> str | None:
        """Return the id that the directory has; ``None`` if it has none, or if there
        is no directory.

        :raises OSError: if it can't be read.
        """
        try:
            with DirectoryFds(self._root) as fds:
                return _read(fds)
        except FileNotFoundError:
            return None

    def bind(self, installation: str, prepare: Callable[[], None]) -> None:
        """Require this id from now on, and write it if there is none.

        :param prepare: makes the directory ready to be written to; it is not called
            if that is somebody else's.
        :raises OSError: if it can't be written.
        :raises WrongStorage: if the directory has another id.
        """
        found = self.read()
        if found not in (None, installation):
            raise WrongStorage(_FOREIGN)
        prepare()
        if found is None:
            content = f"{installation}\n".encode("ascii")
            (error,) = store(self._root, [SmallFile((), IDENTITY, content)])
            if error is not None and not isinstance(error, FileExistsError):
                raise error
            found = self.read()
        self._expected, self._seen = installation, None
        if found != installation:
            raise WrongStorage(_FOREIGN)

    def require(self, fds: DirectoryFds) -> None:
        """Find out whether the directory still is the installation's.

        The file is read only if it is not the one that was read last: one ``stat``
        tells of a disk that was unmounted, or replaced by another.

        :raises WrongStorage: if it is not.
        :raises OSError: if that can't be found out.
        """
        try:
            root = fds.folder()
        except FileNotFoundError:
            raise WrongStorage(_NO_DIRECTORY) from None
        try:
            it = os.stat(IDENTITY, dir_fd=root, follow_symlinks=False)
            seen = (it.st_dev, it.st_ino, it.st_ctime_ns)
            if seen == self._seen:
                return
            found = _read(fds)
        except FileNotFoundError:
            found = None
        if found is None:
            raise WrongStorage(_NO_IDENTITY)
        if found != self._expected:
            raise WrongStorage(_FOREIGN)
        self._seen = seen

    def require_again(self) -> None:
        """As :meth:`require`, for a directory that is not open."""
        with DirectoryFds(self._root) as fds:
            self.require(fds)


def _read(fds: DirectoryFds) -> str:
    descriptor = os.open(IDENTITY, _FLAGS, dir_fd=fds.folder())
    try:
        return os.read(descriptor, _LONGEST).decode("ascii", "replace").strip()
    finally:
        os.close(descriptor)
