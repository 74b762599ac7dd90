"""A pool of connections to PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.logger import Logger

from qabel_block.errors import Unavailable
from qabel_block.ledger.postgres.connection import PostgresConnection, Settings
from qabel_block.ledger.postgres.deadline import Deadline
from qabel_block.ledger.postgres.dsn import with_addresses
from qabel_block.ledger.postgres.errors import DRIVER_ERRORS

_LIBPQ_DEFAULTS = {
    "fallback_application_name": "qabel-block",
    # An idle connection to a machine that vanished is noticed within a minute.
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
}


class Pool:
    """Opens connections on demand, and keeps them for the next one who asks.

    The one that was used last is taken first, so that those beyond what is
    usually needed stay idle.

    :param reactor: resolves names, watches sockets and tells the time.
    :param parameters: libpq's, for connecting.
    :param settings: what every new connection is told.
    :param limit: the largest number of connections.
    :param waited: told the seconds for which an operation had to wait because
        all connections were busy.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        parameters: dict[str, str],
        settings: Settings,
        limit: int,
        waited: Callable[[float], None],
    ) -> None:
        self._reactor = reactor
        self._parameters = {**_LIBPQ_DEFAULTS, **parameters}
        self._settings = settings
        self._waited = waited
        self._turns = DeferredSemaphore(limit)
        self._sessions: set[PostgresConnection] = set()
        self._idle: list[PostgresConnection] = []
        self._outdated: set[PostgresConnection] = set()
        self._borrowers: list[Deferred[PostgresConnection]] = []
        self._pooler = False
        self._closed = False
        self._reachable = True

    async def take(self, deadline: Deadline, fresh: bool = False) -> PostgresConnection:
        """Return a connection for one's own use until ``give_back``.

        :param fresh: whether it must be a new one.
        :raises Unavailable: if there is none in time.
        """
        await self._wait_for_slot(deadline)
        try:
            if self._closed:
                raise Unavailable("database", "the server is shutting down")
            if self._idle and not fresh:
                return self._idle.pop()
            if self._idle:
                self._drop(self._idle[0])
            try:
                return await self._open(deadline)
            except Unavailable:
                # The server may have no room for one more: then those that there are
                # must do.
                if not self._sessions:
                    raise
                return await self._borrow(deadline)
        except BaseException:
            self._turns.release()
            raise

    def give_back(self, session: PostgresConnection) -> None:
        """End one's use of a connection.

        It is kept only if nothing is left over on it: no transaction, no query.
        """
        if not session.idle or self._closed or session in self._outdated:
            self._drop(session)
        elif self._borrowers:
            self._borrowers.pop(0).callback(session)
        else:
            self._idle.append(session)
        self._turns.release()

    def renew(self) -> None:
        """Close all connections, those in use when they are given back."""
        for session in list(self._idle):
            self._drop(session)
        self._outdated.update(self._sessions)

    def expect_pooler(self) -> None:
        """Treat all connections as those of a pooler from now on."""
        if not self._pooler:
            self._log.warn(
                "a pooler such as PgBouncer (pool_mode = transaction) is before the"
                " database: statements are not prepared"
            )
        self._pooler = True
        for session in self._sessions:
            session.pooled = True

    def close(self) -> None:
        """Close all connections, also those in use."""
        self._closed = True
        for session in list(self._sessions):
            self._drop(session)

    async def _borrow(self, deadline: Deadline) -> PostgresConnection:
        """Wait for a connection that somebody else gives back."""
        if self._idle:
            return self._idle.pop()
        waiting: Deferred[PostgresConnection] = Deferred(self._borrowers.remove)
        self._borrowers.append(waiting)
        with deadline.ends(waiting.cancel):
            return await waiting

    async def _wait_for_slot(self, deadline: Deadline) -> None:
        turn = self._turns.acquire()
        if turn.called:
            await turn
            return
        began = self._reactor.seconds()
        try:
            with deadline.ends(turn.cancel):
                await turn
        except Unavailable as error:
            raise Unavailable("database", "all connections are busy") from error
        finally:
            self._waited(self._reactor.seconds() - began)

    async def _open(self, deadline: Deadline) -> PostgresConnection:
        session = PostgresConnection(self._reactor, self._settings, self._drop)
        self._sessions.add(session)
        try:
            looking_up = Deferred.fromCoroutine(
                with_addresses(self._reactor, self._parameters)
            )
            with deadline.ends(looking_up.cancel):
                parameters = await looking_up
            with deadline.ends(session.close):
                await session.open(parameters)
            session.pooled = session.pooled or self._pooler
        except (*DRIVER_ERRORS, Unavailable) as error:
            self._drop(session)
            self._report(error)
            raise Unavailable("database", "it can't be reached") from error
        except BaseException:
            self._drop(session)
            raise
        self._report(None)
        return session

    def _drop(self, session: PostgresConnection) -> None:
        self._sessions.discard(session)
        self._outdated.discard(session)
        if session in self._idle:
            self._idle.remove(session)
        session.close()
        if not self._sessions:
            borrowers, self._borrowers = self._borrowers, []
            for waiting in borrowers:
                waiting.errback(Unavailable("database", "it can't be reached"))

    def _report(self, error: Exception | None) -> None:
        """Log that the database went away or came back, but each only once."""
        if error is None and not self._reachable:
            self._log.info("connected to the database again")
        elif error is not None and self._reachable:
            reason = " ".join(str(error).split())
            self._log.warn("can't connect to the database: {reason}", reason=reason)
        self._reachable = error is None
