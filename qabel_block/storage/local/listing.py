"""Lists the blobs below a storage directory."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import aclosing
from itertools import islice
from pathlib import Path
from typing import TypeVar

from zope.interface import implementer

from qabel_block.errors import Unavailable
from qabel_block.interfaces import IBlobListing
from qabel_block.model import Digest, ListedBlob, Listing
from qabel_block.names import is_prefix
from qabel_block.storage.local import scan
from qabel_block.storage.local.errors import translated
from qabel_block.util.threads import ThreadPool

T = TypeVar("T")


@implementer(IBlobListing)
class LocalListing:
    """Walks the directory, in whatever order the file system has.

    :param root: the directory.
    :param page: entries that are handed over at a time.
    """

    def __init__(self, root: str | Path, threads: ThreadPool, page: int = 1000) -> None:
        self._page = page
        self._root = str(root)
        self._threads = threads

    async def prefixes(self) -> AsyncGenerator[Sequence[str], None]:
        """See :meth:`IBlobListing.prefixes`."""
        async with aclosing(self._pages(scan.prefixes(self._root))) as pages:
            async for page in pages:
                yield page

    async def strays(self) -> AsyncGenerator[Sequence[str], None]:
        """See :meth:`IBlobListing.strays`."""
        async with aclosing(self._pages(scan.strays(self._root))) as pages:
            async for page in pages:
                yield page

    async def blobs(self, prefix: str) -> AsyncGenerator[Listing, None]:
        """See :meth:`IBlobListing.blobs`."""
        if not is_prefix(prefix):
            raise ValueError(f"not a prefix: {prefix!r}")
        async with aclosing(self._pages(scan.blobs(self._root, prefix))) as pages:
            async for page in pages:
                yield Listing(
                    tuple(entry for entry in page if isinstance(entry, ListedBlob)),
                    tuple(entry for entry in page if isinstance(entry, str)),
                )

    async def stat(self, keys: Sequence[str]) -> dict[str, ListedBlob]:
        """See :meth:`IBlobListing.stat`."""
        return await self._run(lambda: scan.stat_blobs(self._root, keys))

    async def digests(self, blobs: Sequence[ListedBlob]) -> dict[str, Digest]:
        """See :meth:`IBlobListing.digests`."""
        return await self._run(lambda: scan.digests(self._root, blobs))

    async def close(self) -> None:
        """See :meth:`IBlobListing.close`."""

    async def _pages(
        self, entries: Generator[T, None, None]
    ) -> AsyncGenerator[list[T], None]:
        try:
            while page := await self._run(lambda: list(islice(entries, self._page))):
                yield page
        finally:
            entries.close()

    async def _run(self, function: Callable[[], T]) -> T:
        def call() -> T:
            try:
                with translated():
                    return function()
            except Unavailable:
                if os.path.lexists(self._root):
                    raise
                reason = f"there is no directory {self._root}; the server makes it"
                raise Unavailable("storage", f"{reason} when it starts") from None

        return await self._threads.run(call)
