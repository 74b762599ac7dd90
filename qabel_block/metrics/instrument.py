"""Points at which the parts can be measured; nothing is measured here."""

from __future__ import annotations

from collections.abc import Callable

from qabel_block.http.transport.interfaces import SiteRecorder
from qabel_block.http.websocket.socket import SocketRecorder
from qabel_block.interfaces import IAuthenticator, ICache, INotifier, IStorageBackend
from qabel_block.ledger.ledger import OperationRecorder
from qabel_block.operations.usage import UNRECORDED, TransferRecorder, UsageEvent


def _nothing(_: object) -> None:
    pass


def _nothing_happened() -> None:
    pass


class Instrumentation:
    """Nothing is put around them.

    Whoever wants to watch the parts at work (:mod:`qabel_block.metrics.measured`)
    overrides these methods, each of which returns what it is given, or something
    that can stand in its place.
    """

    def requests(self) -> SiteRecorder | None:
        """Return who is told of connections and requests."""
        return None

    def sockets(self) -> SocketRecorder | None:
        """Return who is told of WebSockets."""
        return None

    def account_hit(self) -> Callable[[], None]:
        """Return who is told of accounts that a process still knew."""
        return _nothing_happened

    def thread_wait(self) -> Callable[[float], None] | None:
        """Return who is told how long a call waited for a thread."""
        return None

    def ledger(self) -> OperationRecorder | None:
        """Return who is told of the ledger's operations."""
        return None

    def uploads(self) -> TransferRecorder:
        """Return what records uploads."""
        return UNRECORDED

    def downloads(self) -> TransferRecorder:
        """Return what records downloads. Requests for a head are none."""
        return UNRECORDED

    def lost_blobs(self) -> Callable[[], None]:
        """Return who is told of downloads whose blob is lost."""
        return lambda: None

    def storage(self, storage: IStorageBackend) -> IStorageBackend:
        """Return the storage."""
        return storage

    def authenticator(self, authenticator: IAuthenticator) -> IAuthenticator:
        """Return who knows the users, before a cache is put in front."""
        return authenticator

    def cache(self, cache: ICache) -> ICache:
        """Return the cache."""
        return cache

    def notifier(self, notifier: INotifier) -> INotifier:
        """Return the notifier."""
        return notifier

    def usage(
        self, record: Callable[[UsageEvent], None]
    ) -> Callable[[UsageEvent], None]:
        """Return who is told of usage."""
        return record

    def s3(self) -> Callable[[float], None]:
        """Return who is told how long each request to S3 took."""
        return _nothing

    def database_wait(self) -> Callable[[float], None]:
        """Return who is told how long somebody waited for a connection."""
        return _nothing
