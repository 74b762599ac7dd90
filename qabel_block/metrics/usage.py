"""Measures what requests cost and free."""

from __future__ import annotations

from collections.abc import Callable

from qabel_block.metrics.catalogue import Metrics
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
