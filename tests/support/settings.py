"""What the scenarios run on: a database and a storage of each kind."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Protocol

import pytest
from attrs import frozen

from tests.support.s3 import NAMED, Bucket

WITHOUT_STORAGE = ("postgresql, local",)
LOCAL = (*WITHOUT_STORAGE, "sqlite, local")
S3 = (
    ("postgresql, named", "sqlite, named")
    if NAMED
    else (
        "postgresql, moto",
        "sqlite, seaweedfs-http",
        "postgresql, seaweedfs-https",
    )
)
SETTINGS = LOCAL + S3
"""Every database and every storage, but not all pairs: what is between the two
does not know the one from the other."""

without_storage = pytest.mark.without_storage
"""Marks scenarios to which storage does not matter: PostgreSQL and local storage will
do over TCP, where in memory they run on SQLite."""


class Stored(Protocol):
    """What storage holds, seen behind the server's back."""

    def blobs(self, prefix: str) -> list[str]:
        """Return the blobs of a prefix."""

    def unfinished(self) -> list[str]:
        """Return what is left of uploads that have not ended."""


CHECK_BYTES = 1
CHECK_SECONDS = 2.0
"""The most that the file has, and how long it is there, by which a server finds out
whether its storage can be written; it does so at any moment."""


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


@frozen
class StoredFiles:
    """The directory of local storage."""

    directory: Path

    def blobs(self, prefix: str) -> list[str]:
        files = (self.directory / prefix).rglob("*")
        return [str(path) for path in files if path.is_file()]

    def unfinished(self) -> list[str]:
        deadline = time.monotonic() + CHECK_SECONDS
        while True:
            files = list((self.directory / ".incoming").iterdir())
            settled = all(_bytes(path) > CHECK_BYTES for path in files)
            if settled or time.monotonic() > deadline:
                return [str(path) for path in files]
            time.sleep(0.02)


@frozen
class StoredObjects:
    """A bucket."""

    bucket: Bucket

    def blobs(self, prefix: str) -> list[str]:
        return self.bucket.keys(f"{prefix}/")

    def unfinished(self) -> list[str]:
        return [upload for _key, upload in self.bucket.uploads()]


@frozen
class Setting:
    """Where the processes of one world keep what they know.

    :ivar dsn: the ledger's migrated database, as ``--psql-dsn`` takes it.
    :ivar options: which storage they use.
    :ivar environment: variables that the processes need for it.
    """

    dsn: str
    options: tuple[str, ...]
    environment: dict[str, str]
    stored: Stored
