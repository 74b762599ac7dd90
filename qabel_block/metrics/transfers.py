"""Measures uploads and downloads: those under way, how they ended, and their bytes."""

from __future__ import annotations

from collections.abc import Callable

from qabel_block.errors import (
    BlobCollected,
    BlobNotFound,
    BlockError,
    ClientGone,
    StorageFull,
    Unavailable,
)
from qabel_block.metrics.definitions import (
    ABORTED,
    DONE,
    FAILED,
    REFUSED,
    Metrics,
)
from qabel_block.operations.usage import TransferRecorder, UsageEvent


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


class MeasuredTransfers(TransferRecorder):
    """Counts the transfers of one direction: those under way, and how they ended; a
    :data:`~qabel_block.operations.usage.TransferRecorder`."""

    def __init__(self, metrics: Metrics, direction: str) -> None:
        self._in_progress = metrics.transfers_in_progress.labels(direction)
        self._ended = {
            outcome: metrics.transfers.labels(direction, outcome)
            for outcome in (DONE, REFUSED, ABORTED, FAILED)
        }

    def __enter__(self) -> None:
        self._in_progress.inc()

    def __exit__(
        self, _type: object, error: BaseException | None, _traceback: object
    ) -> None:
        self._in_progress.dec()
        self._ended[_outcome(error)].inc()


def _outcome(error: BaseException | None) -> str:
    if error is None:
        return DONE
    if isinstance(error, ClientGone):
        return ABORTED
    refused = isinstance(error, BlockError) and not isinstance(error, _FAILURES)
    return REFUSED if refused else FAILED
