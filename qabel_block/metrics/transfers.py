"""Measures uploads and downloads: those under way, how they ended, and their bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
from qabel_block.interfaces import IBody
from qabel_block.metrics.definitions import (
    ABORTED,
    DONE,
    DOWNLOAD,
    FAILED,
    REFUSED,
    UPLOAD,
    Metrics,
)
from qabel_block.operations.download import Download, Downloads, Recipient
from qabel_block.operations.upload import Upload, Uploads
from qabel_block.operations.usage import UsageEvent


def measured_usage(
    record: Callable[[UsageEvent], None], metrics: Metrics
) -> Callable[[UsageEvent], None]:
    """Return what records usage events and counts their bytes."""
    increase, decrease = (
        metrics.quota_by_request.labels(kind) for kind in ("increase", "decrease")
    )

    def count(event: UsageEvent) -> None:
        record(event)
        if event.downloaded:
            metrics.traffic_response.inc(event.downloaded)
            metrics.traffic_by_request.observe(event.downloaded)
        if event.stored:
            increase.observe(event.stored)
        if event.freed:
            decrease.observe(event.freed)

    return count


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

    async def send(self, download: Download, recipient: Recipient) -> None:
        """See :meth:`Downloads.send`."""
        if download.head_only:
            await super().send(download, recipient)
            return
        with self._transfers.one():
            await super().send(download, recipient)
