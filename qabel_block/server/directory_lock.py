"""Keeps a second server from the directory of ``--standalone``, and a backup from one
that is in use.

Two servers would not hear of each other's changes: cache and push are in the process.
A backup replaces the ledger.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from twisted.logger import Logger

log = Logger()

NAME = "lock"


class DirectoryInUse(Exception):
    """A server or a backup uses the directory; the message says so in one line."""


class DirectoryLock:
    """A lock on a file in a directory, which ends with the process at the latest.

    :param directory: made if it is not there.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Take the lock.

        :return: whether it keeps others away: not every file system has locks. That
            is logged.
        :raises DirectoryInUse: if somebody has it.
        :raises OSError: if the file can't be made.
        """
        self._directory.mkdir(mode=0o700, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._directory / NAME, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise DirectoryInUse(
                f"another server is running on {self._directory}, or a backup is"
                " writing there"
            ) from None
        except OSError as error:
            log.warn("can't lock {path}: {error}", path=self._directory, error=error)
            locked = False
        else:
            locked = True
        self._descriptor = descriptor
        return locked

    def release(self) -> None:
        """Let others have it."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
