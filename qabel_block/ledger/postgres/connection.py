"""A connection to PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import psycopg2
from attrs import frozen
from psycopg2.extensions import TRANSACTION_STATUS_IDLE
from twisted.python.failure import Failure
from txpostgres.txpostgres import Connection, UnexpectedPollResult

from qabel_block.ledger.interfaces import Row
from qabel_block.ledger.sql import Statement


@frozen
class QueryResult:
    """What the last statement of a message returned.

    :ivar rows: empty if it is no query.
    :ivar count: rows it returned or touched.
    :ivar status: its command tag, e.g. ``COMMIT``.
    """

    rows: list[Row]
    count: int
    status: str


@frozen
class Settings:
    """Statements that make the same settings, for a session or for a transaction."""

    session: str
    transaction: str


class PostgresConnection:
    """A connection, on which one message is under way at a time.

    Whoever awaits it must not be cancelled: PostgreSQL would still be
    answering. To give up, call ``close``.

    :ivar pooled: whether there is a pooler such as PgBouncer before the server, which
        may give each transaction another session: nothing can be prepared, and
        settings hold for one transaction.

    :param reactor: watches the socket.
    :param settings: made for the session or, behind a pooler, for each transaction.
    :param on_lost: called with the session when the server closes the
        connection while nothing is under way.
    """

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        on_lost: Callable[[PostgresConnection], None],
    ) -> None:
        self.pooled = False
        self._settings = settings
        self._connection = _Connection(reactor, lambda: on_lost(self))
        self._prepared: set[str] = set()

    async def open(self, parameters: Mapping[str, str]) -> None:
        """Connect, with these parameters of libpq.

        :raises psycopg2.Error: if that fails.
        """
        await self._connection.connect(**parameters)
        answer = await self.send("SELECT pg_backend_pid()")
        self.pooled = _has_pooler(self._connection, answer.rows)
        if not self.pooled:
            await self.send(self._settings.session)

    async def send(
        self, text: str, parameters: Mapping[str, object] | None = None
    ) -> QueryResult:
        """Send one message of one or several statements and await the answer.

        :raises Exception: one of
            :data:`~qabel_block.ledger.postgres.errors.DRIVER_ERRORS`.
        """
        cursor = self._connection.cursor()
        await cursor.execute(text, parameters)
        rows = [] if cursor.description is None else cursor.fetchall()
        return QueryResult(rows, cursor.rowcount, cursor.statusmessage)

    async def prepare(self, statement: Statement) -> None:
        """Make the parts of a statement known, unless they are.

        :raises Exception: as :meth:`send`.
        """
        for part in () if self.pooled else statement.prepared:
            if part.name not in self._prepared:
                await self.send(part.prepare)
                self._prepared.add(part.name)

    async def run(
        self,
        statement: Statement,
        parameters: Mapping[str, object],
        before: str = "",
        after: str = "",
    ) -> QueryResult:
        """Send a statement, which is prepared first, and await the answer.

        :param before: what to send with it, in the same message.
        :param after: likewise.
        :raises Exception: as :meth:`send`.
        """
        await self.prepare(statement)
        parts = [part.execute for part in statement.prepared]
        if self.pooled or not parts:
            parts = [statement.postgres]
        return await self.send(f"{before}{'; '.join(parts)}{after}", parameters)

    @property
    def transaction_settings(self) -> str:
        """What must be sent at the beginning of each transaction."""
        return f"{self._settings.transaction}; " if self.pooled else ""

    @property
    def closed(self) -> bool:
        """Whether the connection is gone."""
        return self._connection.gone

    @property
    def idle(self) -> bool:
        """Whether the connection is there, and in no transaction."""
        return (
            not self.closed
            and self._connection.info.transaction_status == TRANSACTION_STATUS_IDLE
        )

    def close(self) -> None:
        """Close the connection, which makes what is under way fail.

        May be repeated.
        """
        self._connection.close()


def _has_pooler(connection: Any, backends: list[Row]) -> bool:
    """Say whether another process than it said at the beginning serves the client: a
    pooler can't know beforehand which one will."""
    return backends != [(connection.info.backend_pid,)]


def _nothing() -> None:
    pass


class _Connection(Connection):  # type: ignore[misc]
    """Mends what txpostgres does when a connection ends, or changes its socket."""

    def __init__(self, reactor: Any, on_lost: Callable[[], None]) -> None:
        super().__init__(reactor)
        self._on_lost = on_lost

    @property
    def gone(self) -> bool:
        return self._connection is None or bool(self._connection.closed)

    def continuePolling(self, swallowErrors: bool = False) -> None:  # noqa: N803
        # While it connects, libpq may close its socket and go on with another, for
        # the next host or address. One that is still watched then would leave the
        # next socket of its number, whosever that is, unwatched.
        self._unwatch(self)
        super().continuePolling(swallowErrors)

    def doRead(self) -> None:
        # With no query under way there is nobody to raise the error to, and the
        # reactor would log it with a traceback.
        try:
            super().doRead()
        except (psycopg2.Error, UnexpectedPollResult):
            self._on_lost()
        except ValueError:
            # A connection that broke while it was being opened has no socket to
            # go on watching. Whoever opens it hears of the error itself.
            if self._connection.fileno() >= 0:
                raise

    def connectionLost(self, reason: Failure) -> None:
        idle = self._pollingD is None and not self._cursors
        super().connectionLost(reason)
        if idle and self.gone:
            self._on_lost()

    def close(self) -> None:
        self._on_lost = _nothing
        # A cursor that is still registered with the reactor when its socket is
        # closed would leave the next socket of the same number unwatched.
        for cursor in self._cursors:
            self._unwatch(cursor)
        if self._connection is not None:
            super().close()
            # Also when the server closed first: the socket is still ours.
            self._connection.close()

    def _unwatch(self, selectable: Any) -> None:
        self.reactor.removeReader(selectable)
        self.reactor.removeWriter(selectable)
