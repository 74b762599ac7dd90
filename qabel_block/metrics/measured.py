"""Measures all parts with Prometheus metrics."""

from __future__ import annotations

from collections.abc import Callable

from qabel_block.http.transport.interfaces import SiteRecorder
from qabel_block.http.websocket.socket import SocketRecorder
from qabel_block.interfaces import IAuthenticator, ICache, INotifier, IStorageBackend
from qabel_block.ledger.ledger import OperationRecorder
from qabel_block.metrics.accounts import (
    MeasuredAuthenticator,
    MeasuredCache,
)
from qabel_block.metrics.definitions import DOWNLOAD, UPLOAD, Metrics
from qabel_block.metrics.instrument import Instrumentation
from qabel_block.metrics.ledger import ledger_recorder
from qabel_block.metrics.push import MeasuredNotifier, MeasuredSockets
from qabel_block.metrics.requests import MeasuredRequests
from qabel_block.metrics.storage import MeasuredStorage
from qabel_block.metrics.transfers import (
    MeasuredTransfers,
    measured_usage,
)
from qabel_block.operations.usage import TransferRecorder, UsageEvent


class MeasuredInstrumentation(Instrumentation):
    """Measures all parts.

    :param now: seconds, of a clock that never goes back.
    """

    def __init__(self, metrics: Metrics, now: Callable[[], float]) -> None:
        self._metrics = metrics
        self._now = now

    def requests(self) -> SiteRecorder:
        """See :meth:`Instrumentation.requests`."""
        return MeasuredRequests(self._metrics)

    def sockets(self) -> SocketRecorder:
        """See :meth:`Instrumentation.sockets`."""
        return MeasuredSockets(self._metrics)

    def account_hit(self) -> Callable[[], None]:
        """See :meth:`Instrumentation.account_hit`."""
        return self._metrics.auth_cache_hits.inc

    def thread_wait(self) -> Callable[[float], None]:
        """See :meth:`Instrumentation.thread_wait`."""
        return self._metrics.thread_wait.observe

    def ledger(self) -> OperationRecorder:
        """See :meth:`Instrumentation.ledger`."""
        return ledger_recorder(self._metrics)

    def uploads(self) -> TransferRecorder:
        """See :meth:`Instrumentation.uploads`."""
        return MeasuredTransfers(self._metrics, UPLOAD)

    def downloads(self) -> TransferRecorder:
        """See :meth:`Instrumentation.downloads`."""
        return MeasuredTransfers(self._metrics, DOWNLOAD)

    def lost_blobs(self) -> Callable[[], None]:
        """See :meth:`Instrumentation.lost_blobs`."""
        return self._metrics.lost_blobs.inc

    def storage(self, storage: IStorageBackend) -> IStorageBackend:
        """See :meth:`Instrumentation.storage`."""
        return MeasuredStorage(storage, self._metrics, self._now)

    def authenticator(self, authenticator: IAuthenticator) -> IAuthenticator:
        """See :meth:`Instrumentation.authenticator`."""
        return MeasuredAuthenticator(authenticator, self._metrics, self._now)

    def cache(self, cache: ICache) -> ICache:
        """See :meth:`Instrumentation.cache`."""
        return MeasuredCache(cache, self._metrics)

    def notifier(self, notifier: INotifier) -> INotifier:
        """See :meth:`Instrumentation.notifier`."""
        return MeasuredNotifier(notifier, self._metrics)

    def usage(
        self, record: Callable[[UsageEvent], None]
    ) -> Callable[[UsageEvent], None]:
        """See :meth:`Instrumentation.usage`."""
        return measured_usage(record, self._metrics)

    def s3(self) -> Callable[[float], None]:
        """See :meth:`Instrumentation.s3`."""
        return self._metrics.s3_requests.observe

    def database_wait(self) -> Callable[[float], None]:
        """See :meth:`Instrumentation.database_wait`."""

        def waited(seconds: float) -> None:
            self._metrics.database_wait.inc(seconds)
            self._metrics.database_waits.observe(seconds)

        return waited
