"""The metrics there are.

Names without ``_seconds`` or ``_bytes`` are those of the legacy server, whose
dashboards stay usable; they count seconds and bytes all the same.
"""

from __future__ import annotations

from typing import Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Summary,
    disable_created_metrics,
)

from qabel_block import __version__
from qabel_block.metrics.buffered import (
    BufferedCounter,
    BufferedFamily,
    BufferedGauge,
    BufferedHistogram,
    BufferedMetrics,
    BufferedSummary,
)

Buckets = tuple[float, ...]

SHORT = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Seconds, for what has a limit of some seconds."""

LONG = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60, 600)
"""Seconds, for what takes as long as there are bytes."""

LASTING = (1, 10, 60, 300, 1800, 3600, 6 * 3600, 24 * 3600, 7 * 24 * 3600)
"""Seconds, for connections that stay."""

UPLOAD, DOWNLOAD = "upload", "download"
DONE, REFUSED, ABORTED, FAILED = "done", "refused", "aborted", "failed"
"""How a transfer may end: as it should; refused, for a reason that lies with the
request; left by its client; broken off because something does not work."""

KNOWN, UNKNOWN = "known", "unknown"

DEPENDENCIES = ("database", "storage", "cache", "push", "accounts")

LEDGER_OPERATIONS = (
    "add_traffic",
    "claim_garbage",
    "commit_upload",
    "create_prefix",
    "delete",
    "find",
    "forget_garbage",
    "garbage",
    "note_blob",
    "prefixes",
    "write_state",
    "storage_used",
)


class Metrics:
    """All metrics of one process that serves requests.

    Where several processes share what they count
    (:mod:`qabel_block.metrics.multiprocess`), counts are added up. Of gauges those of
    processes that live are: added up if they count something that one process
    has, the lowest if it says whether all is well, and the most recent if all
    processes see the same.

    :param registry: they are registered here.
    :ivar buffered: hand over what was counted.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        # When a series began is of no use here, and would be one more series each.
        disable_created_metrics()
        self._registry = registry
        self.buffered = BufferedMetrics()
        self._requests()
        self._transfers()
        self._accounts()
        self._storage()
        self._ledger()
        self._push()
        self._operation()

    def _requests(self) -> None:
        self.requests_in_progress = self._gauge(
            "block_in_progress_requests", "Requests that are not answered yet."
        )
        self.response_time = self._histogram(
            "block_response_time", "Seconds from a request's head to its end.", LONG
        )
        self.requests = self._counters(
            "block_requests", "Requests, by method and status.", "method", "status"
        )
        self.denied = self._counters(
            "block_access_denied", "Requests answered with an error.", "reason"
        )
        self.too_large = self._counter(
            "content_length_error", "Uploads refused because they are too large."
        )
        self.connections = self._gauge(
            "block_client_connections", "Connections of clients, but WebSockets."
        )

    def _transfers(self) -> None:
        self.transfers_in_progress = self._gauges(
            "block_transfers_in_progress",
            "Uploads and downloads under way.",
            "direction",
        )
        self.transfers = self._counters(
            "block_transfers",
            "Uploads and downloads that have ended, and how.",
            "direction",
            "outcome",
        )
        for direction in (UPLOAD, DOWNLOAD):
            self.transfers_in_progress.labels(direction)
            for outcome in (DONE, REFUSED, ABORTED, FAILED):
                self.transfers.labels(direction, outcome)
        self.traffic_request = self._counter(
            "block_traffic_request", "Bytes of uploads that were handed to storage."
        )
        self.traffic_response = self._counter(
            "block_traffic_response", "Bytes of objects that were sent to clients."
        )
        self.traffic_by_request = self._summary(
            "block_traffic_by_request", "Bytes of an object that a download sent."
        )
        self.quota_by_request = self._summaries(
            "block_quota_by_request", "Bytes by which a user's storage changed.", "type"
        )
        for kind in ("increase", "decrease"):
            self.quota_by_request.labels(kind)

    def _accounts(self) -> None:
        self.wait_for_auth = self._histogram(
            "block_wait_for_auth",
            "Seconds for an answer of whoever knows the users.",
            SHORT,
        )
        self.auth_answers = self._counters(
            "block_auth_answers", "What the answer was.", "outcome"
        )
        for outcome in (KNOWN, UNKNOWN, FAILED):
            self.auth_answers.labels(outcome)
        self.auth_cache_hits = self._counter(
            "block_auth_cache_hits", "Accounts that were found in a cache."
        )
        self.auth_cache_sets = self._counter(
            "block_auth_cache_sets", "Entries that were put into the shared cache."
        )

    def _storage(self) -> None:
        self.store = self._histogram(
            "block_wait_for_transfer_store",
            "Seconds an upload waited for storage to take its blob.",
            LONG,
        )
        self.retrieve = self._histogram(
            "block_wait_for_transfer_retrieve",
            "Seconds a download waited for storage to return its blob.",
            LONG,
        )
        # These two are observed in threads.
        self.s3_requests = Summary(
            "block_s3_requests",
            "Seconds for a call of S3, repetitions included.",
            registry=self._registry,
        )
        self.thread_wait = Histogram(
            "block_wait_for_transfer_thread_seconds",
            "Seconds a storage operation waited for one of the threads.",
            registry=self._registry,
            buckets=SHORT,
        )
        self.blobs_deleted = self._counter(
            "block_garbage_collected", "Blobs that were deleted from storage."
        )
        self.lost_blobs = self._counter(
            "block_lost_blobs",
            "Downloads of objects whose content storage has lost.",
        )

    def _ledger(self) -> None:
        self.meta = self._histogram(
            "block_wait_for_transfer_meta",
            "Seconds to look up an object that is to be read.",
            SHORT,
        )
        self.delete = self._histogram(
            "block_wait_for_transfer_delete", "Seconds to delete an object.", SHORT
        )
        self.ledger = self._histograms(
            "block_ledger_seconds",
            "Seconds for an operation of the ledger.",
            SHORT,
            "operation",
        )
        for operation in LEDGER_OPERATIONS:
            self.ledger.labels(operation)
        self.database_wait = self._counter(
            "block_wait_database_connections",
            "Seconds waited because all connections to the database were busy.",
        )
        self.database_waits = self._histogram(
            "block_wait_for_database_connection_seconds",
            "The same for each time that somebody had to wait.",
            SHORT,
        )

    def _push(self) -> None:
        self.websockets = self._gauge("websocket_connections", "Open WebSockets.")
        text = "Seconds for which a WebSocket was open."
        self.websocket_durations = (
            self._histogram("weboscket_connection_duration", text, LASTING),
            self._histogram("websocket_connection_duration", text, LASTING),
        )
        self.websocket_messages = self._counter(
            "websocket_messages", "Events that were sent to WebSockets."
        )
        self.published = self._counter(
            "pubsub_published", "Events that were published to all nodes."
        )
        self.pubsub_connections = self._gauge(
            "pubsub_connections", "Open connections to the broker of events."
        )

    def _operation(self) -> None:
        self.dependency_up = self._sampled_gauge(
            "block_dependency_up",
            "Whether a dependency works, as /readyz sees it.",
            "dependency",
            mode="livemin",
        )
        for dependency in DEPENDENCIES:
            self.dependency_up.labels(dependency)
        self.garbage_waiting = self._sampled_gauge(
            "block_garbage_waiting",
            "Blobs that are noted as garbage, counted up to a limit.",
            mode="livemostrecent",
        )
        self.garbage_overdue = self._sampled_gauge(
            "block_garbage_overdue",
            "Those of them that should have been deleted by now.",
            mode="livemostrecent",
        )
        self.log_lines_dropped = self._counter(
            "block_log_lines_dropped",
            "Lines of the log that were dropped because it could not be written.",
        )
        self._sampled_gauge(
            "block_build_info", "The version of the server.", "version", mode="livemax"
        ).labels(__version__).set(1)

    def users(self) -> tuple[Gauge, Gauge, Gauge]:
        """Return gauges of what single users store, of their quotas, and of when they
        last uploaded anything. They are there only if they are asked for."""
        names = (
            ("size_bytes", "Bytes that the user stores."),
            ("quota_bytes", "Bytes that the user may store."),
            ("last_upload_timestamp_seconds", "When the user last uploaded anything."),
        )
        size, quota, latest = (
            self._sampled_gauge(
                f"qabel_block_user_{name}", text, "user", mode="livemostrecent"
            )
            for name, text in names
        )
        return size, quota, latest

    def _counter(self, name: str, text: str) -> BufferedCounter:
        return self.buffered.add(
            BufferedCounter(Counter(name, text, registry=self._registry))
        )

    def _counters(
        self, name: str, text: str, *labels: str
    ) -> BufferedFamily[BufferedCounter]:
        counter = Counter(name, text, labels, registry=self._registry)
        return BufferedFamily(counter, BufferedCounter, self.buffered)

    def _gauge(self, name: str, text: str) -> BufferedGauge:
        return self.buffered.add(
            BufferedGauge(self._sampled_gauge(name, text, mode="livesum"))
        )

    def _gauges(
        self, name: str, text: str, label: str
    ) -> BufferedFamily[BufferedGauge]:
        gauge = self._sampled_gauge(name, text, label, mode="livesum")
        return BufferedFamily(gauge, BufferedGauge, self.buffered)

    def _summary(self, name: str, text: str) -> BufferedSummary:
        return self.buffered.add(
            BufferedSummary(Summary(name, text, registry=self._registry))
        )

    def _summaries(
        self, name: str, text: str, label: str
    ) -> BufferedFamily[BufferedSummary]:
        summary = Summary(name, text, (label,), registry=self._registry)
        return BufferedFamily(summary, BufferedSummary, self.buffered)

    def _histogram(self, name: str, text: str, buckets: Buckets) -> BufferedHistogram:
        histogram = Histogram(name, text, registry=self._registry, buckets=buckets)
        return self.buffered.add(BufferedHistogram(histogram, buckets))

    def _histograms(
        self, name: str, text: str, buckets: Buckets, label: str
    ) -> BufferedFamily[BufferedHistogram]:
        histogram = Histogram(
            name, text, (label,), registry=self._registry, buckets=buckets
        )
        return BufferedFamily(
            histogram, lambda child: BufferedHistogram(child, buckets), self.buffered
        )

    def _sampled_gauge(
        self,
        name: str,
        text: str,
        *labels: str,
        mode: Literal["livesum", "livemin", "livemax", "livemostrecent"],
    ) -> Gauge:
        """Return a gauge that is set to what is seen now and then."""
        return Gauge(
            name, text, labels, registry=self._registry, multiprocess_mode=mode
        )
