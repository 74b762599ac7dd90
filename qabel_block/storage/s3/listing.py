"""Lists the blobs in a bucket."""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    Callable,
    Coroutine,
    Iterator,
    Sequence,
)
from hashlib import sha256
from itertools import groupby, islice
from typing import Any, TypeVar

from twisted.internet.defer import (
    Deferred,
    DeferredSemaphore,
    FirstError,
    gatherResults,
)
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from qabel_block.errors import BlobNotFound, Unavailable
from qabel_block.interfaces import IBlobListing
from qabel_block.model import Digest, ListedBlob, Listing
from qabel_block.names import IDENTITY, is_prefix, parse_blob_key, shown
from qabel_block.storage.s3.client import Connect, S3Connection
from qabel_block.storage.s3.pages import DELIMITER, S3Pages
from qabel_block.storage.s3.reader import S3Reader
from qabel_block.storage.s3.thread_queue import ThreadQueue
from qabel_block.util.threads import ThreadPool

Q = TypeVar("Q")
T = TypeVar("T")

FEW = 5
"""So many blobs are asked for one by one; for more, the bucket is listed."""


@implementer(IBlobListing)
class S3Listing:
    """Lists the bucket, and reads some blobs at a time.

    :param connect: makes the client, in a thread.
    :param clock: limits how long a request waits for a thread.
    :param transfers: requests at a time; not more than there are threads.
    :param page: blobs that are listed with one request; S3 allows a thousand.
    """

    def __init__(
        self,
        connect: Connect,
        threads: ThreadPool,
        clock: IReactorTime,
        transfers: int,
        page: int = 1000,
    ) -> None:
        self._page = page
        self._run = ThreadQueue(threads, clock).run
        self._queue = DeferredSemaphore(transfers)
        self._connection = S3Connection(connect)

    async def prefixes(self) -> AsyncGenerator[Sequence[str], None]:
        """See :meth:`IBlobListing.prefixes`."""
        pages = await self._run(lambda: self._pages().root())
        while (page := await self._run(_following, pages)) is not None:
            folders, _ = page
            yield [name for name in folders if is_prefix(name)]

    async def strays(self) -> AsyncGenerator[Sequence[str], None]:
        """See :meth:`IBlobListing.strays`."""
        pages = await self._run(lambda: self._pages().root())
        while (page := await self._run(_following, pages)) is not None:
            folders, keys = page
            strange = [name for name in folders if not is_prefix(name)]
            strange += [key for key in keys if key != IDENTITY]
            yield [shown(name or DELIMITER) for name in strange]

    async def blobs(self, prefix: str) -> AsyncGenerator[Listing, None]:
        """See :meth:`IBlobListing.blobs`."""
        if not is_prefix(prefix):
            raise ValueError(f"not a prefix: {prefix!r}")
        pages = await self._run(lambda: self._pages().below(prefix))
        while (page := await self._run(_following, pages)) is not None:
            yield Listing(
                tuple(entry for entry in page if isinstance(entry, ListedBlob)),
                tuple(entry for entry in page if isinstance(entry, str)),
            )

    async def stat(self, keys: Sequence[str]) -> dict[str, ListedBlob]:
        """See :meth:`IBlobListing.stat`.

        A listing tells of many blobs at a time. Those that it doesn't show
        where S3 would have them are asked for once more.
        """
        for key in keys:
            parse_blob_key(key)
        found: dict[str, ListedBlob] = {}
        for prefix, below in groupby(sorted(keys), key=_prefix_of):
            wanted = list(below)
            if len(wanted) > FEW:
                found |= await self._run(self._list, prefix, wanted)
        missing = [key for key in keys if key not in found]
        looks = await self._each(missing, self._stat)
        return found | {blob.key: blob for blob in looks if blob is not None}

    async def digests(self, blobs: Sequence[ListedBlob]) -> dict[str, Digest]:
        """See :meth:`IBlobListing.digests`."""
        digests = await self._each(blobs, self._digest)
        pairs = zip(blobs, digests, strict=True)
        return {blob.key: digest for blob, digest in pairs if digest is not None}

    async def close(self) -> None:
        """See :meth:`IBlobListing.close`."""
        self._connection.close()

    def _pages(self) -> S3Pages:
        return self._connection.client().pages(self._page)

    async def _each(
        self, of: Sequence[Q], function: Callable[[Q], Coroutine[Deferred[T], Any, T]]
    ) -> list[T]:
        """Call ``function`` for each, some at a time."""

        def call(one: Q) -> Deferred[T]:
            return self._queue.run(lambda: Deferred.fromCoroutine(function(one)))

        gathering = gatherResults([call(one) for one in of], consumeErrors=True)
        try:
            return await gathering
        except FirstError as error:
            error.subFailure.raiseException()
            raise  # never reached

    async def _stat(self, key: str) -> ListedBlob | None:
        return await self._run(lambda: self._pages().stat(key))

    def _list(self, prefix: str, wanted: Sequence[str]) -> dict[str, ListedBlob]:
        """Return those of the wanted blobs that some pages show, from where the
        first of them should be; in a thread."""
        rest = set(wanted)
        found = {}
        # To begin after what the first key begins with is to begin before it.
        pages = self._pages().below(prefix, wanted[0][:-1])
        for page in islice(pages, len(wanted) // self._page + 2):
            for blob in page:
                if isinstance(blob, ListedBlob) and blob.key in rest:
                    found[blob.key] = blob
                    rest.remove(blob.key)
            if not rest:
                break
        return found

    async def _digest(self, blob: ListedBlob) -> Digest | None:
        digest = sha256()
        if blob.size:
            reader = S3Reader(
                blob.key, 0, blob.size, self._run, self._connection.client
            )
            try:
                await reader.open()
                while piece := await reader.read():
                    digest.update(piece)
            except BlobNotFound:
                return None
            except Unavailable as error:
                await self._run(lambda: self._connection.client().check())
                return Digest(None, error.reason)
            finally:
                await reader.close()
        return Digest(digest.hexdigest())


def _following(pages: Iterator[T]) -> T | None:
    return next(pages, None)


def _prefix_of(key: str) -> str:
    return parse_blob_key(key)[0].prefix
