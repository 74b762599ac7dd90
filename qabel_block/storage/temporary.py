"""Blobs that are forgotten when the server ends (``--dummy``)."""

from __future__ import annotations

import atexit
from collections.abc import Mapping, Sequence
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from zope.interface import implementer

from qabel_block.interfaces import IBlobReader, IBlobWriter, IStorageBackend
from qabel_block.storage.local.storage import LocalStorage
from qabel_block.util.threads import ThreadPool


def temporary_directory() -> Path:
    """Make a directory that is removed when the process ends."""
    directory = Path(mkdtemp(prefix="qabel-block-"))
    atexit.register(rmtree, directory, ignore_errors=True)
    return directory


@implementer(IStorageBackend)
class TemporaryStorage:
    """A :class:`LocalStorage` in a directory that goes with it."""

    def __init__(self, threads: ThreadPool) -> None:
        self._threads = threads
        self._directory = temporary_directory()
        self._local = LocalStorage(self._directory, threads, reserve=0)

    async def identity(self) -> str | None:
        """See :meth:`IStorageBackend.identity`."""
        return await self._local.identity()

    async def bind(self, installation: str) -> None:
        """See :meth:`IStorageBackend.bind`."""
        await self._local.bind(installation)

    async def create(self, key: str) -> IBlobWriter:
        """See :meth:`IStorageBackend.create`."""
        writer: IBlobWriter = await self._local.create(key)
        return writer

    async def open(self, key: str, start: int, length: int) -> IBlobReader:
        """See :meth:`IStorageBackend.open`."""
        reader: IBlobReader = await self._local.open(key, start, length)
        return reader

    async def delete(self, keys: Sequence[str]) -> Mapping[str, str]:
        """See :meth:`IStorageBackend.delete`."""
        return await self._local.delete(keys)

    async def check(self) -> None:
        """See :meth:`IStorageBackend.check`."""
        await self._local.check()

    async def close(self) -> None:
        """Forget everything."""
        await self._threads.run(rmtree, self._directory, ignore_errors=True)
