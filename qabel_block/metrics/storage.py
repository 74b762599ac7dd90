"""Measures storage: its calls, and the calls of S3."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from zope.interface import implementer

from qabel_block.interfaces import (
    IBlobReader,
    IBlobWriter,
    IFileBlobReader,
    IStorageBackend,
)
from qabel_block.metrics.definitions import Metrics

T = TypeVar("T")


Now = Callable[[], float]


@implementer(IStorageBackend)
class MeasuredStorage:
    """Stands in front of a storage.

    The time of an upload or a download is what was spent waiting for storage, not
    for the client in between.

    :param now: seconds, of a clock that never goes back.
    """

    def __init__(self, inner: IStorageBackend, metrics: Metrics, now: Now) -> None:
        self._inner = inner
        self._metrics = metrics
        self._now = now

    async def identity(self) -> str | None:
        """See :meth:`IStorageBackend.identity`."""
        identity: str | None = await self._inner.identity()
        return identity

    async def bind(self, installation: str) -> None:
        """See :meth:`IStorageBackend.bind`."""
        await self._inner.bind(installation)

    async def create(self, key: str) -> MeasuredWriter:
        """See :meth:`IStorageBackend.create`."""
        began = self._now()
        writer = await self._inner.create(key)
        spent = self._now() - began
        return MeasuredWriter(writer, self._metrics, self._now, spent)

    async def open(self, key: str, start: int, length: int) -> MeasuredReader:
        """See :meth:`IStorageBackend.open`."""
        began = self._now()
        reader = await self._inner.open(key, start, length)
        spent = self._now() - began
        if IFileBlobReader.providedBy(reader):
            return MeasuredFileReader(reader, self._metrics, self._now, spent)
        return MeasuredReader(reader, self._metrics, self._now, spent)

    async def delete(self, keys: Sequence[str]) -> Mapping[str, str]:
        """See :meth:`IStorageBackend.delete`."""
        failed: Mapping[str, str] = await self._inner.delete(keys)
        self._metrics.blobs_deleted.inc(len(keys) - len(failed))
        return failed

    async def check(self) -> None:
        """See :meth:`IStorageBackend.check`."""
        await self._inner.check()

    async def close(self) -> None:
        """See :meth:`IStorageBackend.close`."""
        await self._inner.close()


@implementer(IBlobWriter)
class MeasuredWriter:
    """Counts the bytes of an upload, and the time until they are durable."""

    def __init__(
        self, inner: IBlobWriter, metrics: Metrics, now: Now, spent: float
    ) -> None:
        self._inner = inner
        self._metrics = metrics
        self._now = now
        self._spent = spent

    async def write(self, data: bytes) -> None:
        """See :meth:`IBlobWriter.write`."""
        began = self._now()
        await self._inner.write(data)
        self._spent += self._now() - began
        self._metrics.traffic_request.inc(len(data))

    async def finish(self) -> None:
        """See :meth:`IBlobWriter.finish`."""
        began = self._now()
        await self._inner.finish()
        self._metrics.store.observe(self._spent + self._now() - began)

    async def abort(self) -> None:
        """See :meth:`IBlobWriter.abort`."""
        await self._inner.abort()


@implementer(IBlobReader)
class MeasuredReader:
    """Measures the time until a blob is read, to wherever that was wanted."""

    def __init__(
        self, inner: IBlobReader, metrics: Metrics, now: Now, spent: float
    ) -> None:
        self._inner = inner
        self._metrics = metrics
        self._now = now
        self._spent = spent

    async def read(self) -> bytes:
        """See :meth:`IBlobReader.read`."""
        began = self._now()
        data = await self._inner.read()
        self._spent += self._now() - began
        return data

    async def close(self) -> None:
        """See :meth:`IBlobReader.close`."""
        self._metrics.retrieve.observe(self._spent)
        await self._inner.close()


@implementer(IFileBlobReader)
class MeasuredFileReader(MeasuredReader):
    """The same for a reader whose bytes the kernel can send, which takes no time."""

    def __init__(
        self, inner: IFileBlobReader, metrics: Metrics, now: Now, spent: float
    ) -> None:
        super().__init__(inner, metrics, now, spent)
        self._file = inner

    def send(self, socket: int, size: int) -> int | None:
        """See :meth:`IFileBlobReader.send`."""
        return self._file.send(socket, size)
