"""Counts uploads and downloads: those under way, and how the others ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from qabel_block.errors import (
    BlobCollected,
    BlobNotFound,
    BlockError,
    ClientGone,
    StorageFull,
    Unavailable,
)
from qabel_block.http.downloads import Downloads
from qabel_block.http.transport.request import StreamingRequest
from qabel_block.interfaces import IBody
from qabel_block.metrics.catalogue import (
    ABORTED,
    DONE,
    DOWNLOAD,
    FAILED,
    REFUSED,
    UPLOAD,
    Metrics,
)
from qabel_block.model import ObjectName
from qabel_block.operations.upload import Upload, Uploads

_FAILURES = (Unavailable, StorageFull, BlobCollected, BlobNotFound)


class _Transfers:
    """Those of one direction."""

    def __init__(self, metrics: Metrics, direction: str) -> None:
        self._in_progress = metrics.transfers_in_progress.labels(direction)
        self._ended = {
            outcome: metrics.transfers.labels(direction, outcome)
            for outcome in (DONE, REFUSED, ABORTED, FAILED)
        }

    @contextmanager
    def one(self) -> Iterator[None]:
        """Enter when a transfer begins."""
        outcome = FAILED
        self._in_progress.inc()
        try:
            yield
            outcome = DONE
        except BlockError as error:
            outcome = _outcome(error)
            raise
        finally:
            self._in_progress.dec()
            self._ended[outcome].inc()


def _outcome(error: BlockError) -> str:
    if isinstance(error, ClientGone):
        return ABORTED
    return FAILED if isinstance(error, _FAILURES) else REFUSED


class MeasuredUploads(Uploads):
    """Takes uploads, and counts them."""

    def __init__(self, metrics: Metrics, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._transfers = _Transfers(metrics, UPLOAD)

    async def store(self, upload: Upload, body: IBody) -> str:
        """See :meth:`Uploads.store`."""
        with self._transfers.one():
            return await super().store(upload, body)


class MeasuredDownloads(Downloads):
    """Sends objects, and counts that. Requests for a head are no downloads."""

    def __init__(self, metrics: Metrics, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._transfers = _Transfers(metrics, DOWNLOAD)

    async def answer(self, request: StreamingRequest, name: ObjectName) -> None:
        """See :meth:`Downloads.answer`."""
        if request.method == b"HEAD":
            await super().answer(request, name)
            return
        with self._transfers.one():
            await super().answer(request, name)
