"""Measures the ledger's operations."""

from __future__ import annotations

from qabel_block.ledger.ledger import OperationRecorder
from qabel_block.metrics.definitions import Metrics


def ledger_recorder(metrics: Metrics) -> OperationRecorder:
    """Return what observes the time of each operation, by its name; that of the two
    for which the legacy server had metrics, there as well."""
    legacy = {"find": metrics.meta, "delete": metrics.delete}

    def record(operation: str, seconds: float) -> None:
        metrics.ledger.labels(operation).observe(seconds)
        if operation in legacy:
            legacy[operation].observe(seconds)

    return record
