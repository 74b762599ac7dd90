"""Blobs in an S3 bucket."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from qabel_block.errors import BlobNotFound, BlockError, Unavailable, WrongStorage
from qabel_block.interfaces import IStorageBackend
from qabel_block.names import parse_blob_key, time_of
from qabel_block.storage.s3.client import Connect, S3Connection
from qabel_block.storage.s3.reader import S3Reader
from qabel_block.storage.s3.thread_queue import ThreadQueue
from qabel_block.storage.s3.writer import S3Writer, part_size
from qabel_block.util.threads import ThreadPool

log = Logger()

BATCH = 1000
"""Keys that S3 deletes with one request."""

VERIFY_SECONDS = 60.0
"""How long an upload takes the bucket's identity for granted."""

NO_IDENTITY = "the bucket has lost its identity; was it emptied or replaced?"
FOREIGN = "the bucket belongs to another installation; is it the right one?"

SWEEP_SECONDS = 3600.0
LEFT_OVER_SECONDS = 86400.0
"""A multipart upload older than a day is the leftover of a crash."""


@implementer(IStorageBackend)
class S3Storage:
    """Keeps each blob as the object of its key.

    :param connect: makes the client, in a thread: it reads files and may ask
        the cloud for credentials.
    :param clock: tells when to sweep.
    :param now: seconds since 1970, for the age of what is swept.
    :param max_body_size: bytes; the parts of an upload are so large that this
        fits into the number of parts that S3 allows.
    """

    def __init__(
        self,
        connect: Connect,
        threads: ThreadPool,
        clock: IReactorTime,
        now: Callable[[], float],
        max_body_size: int,
    ) -> None:
        self._clock = clock
        self._now = now
        self._run = ThreadQueue(threads, clock).run
        self._part_size = part_size(max_body_size)
        self._connection = S3Connection(connect)
        self._installation: str | None = None
        self._verified = -inf
        self._sweeping = LoopingCall(lambda: Deferred.fromCoroutine(self._sweep()))
        self._sweeping.clock = clock

    async def identity(self) -> str | None:
        """See :meth:`IStorageBackend.identity`."""
        return await self._run(lambda: self._connection.client().identity())

    async def bind(self, installation: str) -> None:
        """See :meth:`IStorageBackend.bind`. Sweeps in the background."""
        await self._run(self._bind, installation)
        if not self._sweeping.running:
            self._sweeping.start(SWEEP_SECONDS, now=True)

    async def create(self, key: str) -> S3Writer:
        """See :meth:`IStorageBackend.create`."""
        parse_blob_key(key)
        self._require_bound()
        if self._clock.seconds() - self._verified > VERIFY_SECONDS:
            await self._run(self._verify)
        return S3Writer(key, self._run, self._connection.client, self._part_size)

    async def open(self, key: str, start: int, length: int) -> S3Reader:
        """See :meth:`IStorageBackend.open`."""
        parse_blob_key(key)
        self._require_bound()
        reader = S3Reader(key, start, length, self._run, self._connection.client)
        try:
            await reader.open()
        except BlobNotFound:
            await self._run(self._verify)
            raise
        return reader

    async def delete(self, keys: Sequence[str]) -> dict[str, str]:
        """See :meth:`IStorageBackend.delete`."""
        for key in keys:
            parse_blob_key(key)
        self._require_bound()
        await self._run(self._verify)
        failed: dict[str, str] = {}
        for at in range(0, len(keys), BATCH):
            failed |= await self._run(self._delete, keys[at : at + BATCH])
        return failed

    async def check(self) -> None:
        """See :meth:`IStorageBackend.check`."""
        self._require_bound()
        await self._run(self._verify)
        await self._run(lambda: self._connection.client().check())

    async def close(self) -> None:
        """See :meth:`IStorageBackend.close`."""
        if self._sweeping.running:
            self._sweeping.stop()
        self._connection.close()

    def _require_bound(self) -> None:
        if self._installation is None:
            raise Unavailable("storage", "it is not known yet whose it is")

    def _bind(self, installation: str) -> None:
        client = self._connection.client()
        found = client.identity()
        if found is None:
            client.set_identity(installation)
            found = client.identity()
        self._compare(found, installation)
        self._installation = installation

    def _verify(self) -> None:
        """Find out whether this still is the installation's bucket.

        :raises WrongStorage: if it is not.
        """
        self._compare(self._connection.client().identity(), self._installation)

    def _compare(self, found: str | None, expected: str | None) -> None:
        if found != expected:
            self._verified = -inf
            raise WrongStorage(NO_IDENTITY if found is None else FOREIGN)
        self._verified = self._clock.seconds()

    def _delete(self, keys: Sequence[str]) -> dict[str, str]:
        return self._connection.client().delete(keys)

    async def _sweep(self) -> None:
        """Abort our own multipart uploads that a crash has left."""
        try:
            count = await self._run(self._abort_left_overs, self._now())
        except BlockError as error:
            log.warn("can't look for abandoned uploads: {error}", error=str(error))
        except Exception:
            log.failure("can't look for abandoned uploads")
        else:
            if count:
                log.info("aborted {count} abandoned uploads", count=count)

    def _abort_left_overs(self, now: float) -> int:
        client = self._connection.client()
        count = 0
        for key, upload, started in client.uploads():
            begun = _begun(key)
            # Some stores tell the same time for all uploads.
            if begun and now - max(begun, started) > LEFT_OVER_SECONDS:
                try:
                    client.abort(key, upload)
                except BlockError as error:
                    log.info("can't abort {key}: {error}", key=key, error=str(error))
                else:
                    count += 1
        return count


def _begun(key: str) -> float | None:
    """Return when the upload of a blob began; ``None`` if it is none of ours."""
    try:
        version = parse_blob_key(key)[1]
    except ValueError:
        return None
    return time_of(version) if version else None
