"""The ledger's database on PostgreSQL."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from zope.interface import implementer

from qabel_block.errors import OutcomeUnknown, Unavailable
from qabel_block.ledger import queries
from qabel_block.ledger.interfaces import IDatabase, ITransaction, Row
from qabel_block.ledger.migrate import head
from qabel_block.ledger.migrate_check import require_head
from qabel_block.ledger.postgres.connection import PostgresConnection, QueryResult
from qabel_block.ledger.postgres.deadline import Deadline
from qabel_block.ledger.postgres.dsn import postgres_parameters
from qabel_block.ledger.postgres.errors import DRIVER_ERRORS, is_conflict, unavailable
from qabel_block.ledger.postgres.pool import Pool
from qabel_block.ledger.queries import Statement
from qabel_block.util.cancellation import shield

T = TypeVar("T")

# The server gives up a little before we do: then the connection can stay. A
# client that dies must not keep others waiting for the rows it locked. And 204
# promises that the change survives a crash, so a server whose default says
# otherwise is told; stronger settings are the operator's and stay. Every row is
# found by its key; a plan that was made while a table was small, when reading
# all of it seemed as good, would be kept for too long.
_SETUP = """\
SET statement_timeout TO {patience};
SET lock_timeout TO {patience};
SET idle_in_transaction_session_timeout TO {limit};
SET enable_seqscan TO off;
SELECT set_config('synchronous_commit', 'on', false)
WHERE current_setting('synchronous_commit') = 'off'
"""

_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED; "
_BEGIN_FORGETFUL = _BEGIN + "SET LOCAL synchronous_commit TO OFF; "

_READ_ATTEMPTS = 2
_CHANGE_ATTEMPTS = 5


@implementer(IDatabase)
class PostgresDatabase:
    """PostgreSQL 13 or later, through a pool of connections.

    Cancelling a call only stops the waiting: a connection can't be given up in
    the middle of an answer.

    :param reactor: watches the connections and tells the time.
    :param dsn: a libpq connection string or URL.
    :param connections: the largest number of connections.
    :param deadline: seconds that any call may take in all: waiting for a
        connection, connecting and repeating included.
    :param waited: told the seconds for which a call had to wait because all
        connections were busy.
    :raises ValueError: if the DSN can't be parsed.
    """

    def __init__(
        self,
        reactor: Any,
        dsn: str,
        connections: int = 8,
        deadline: float = 8.0,
        waited: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self._reactor = reactor
        self._deadline = deadline
        milliseconds = max(2, int(deadline * 1000))
        setup = _SETUP.format(patience=milliseconds * 9 // 10, limit=milliseconds)
        parameters = postgres_parameters(dsn)
        self._pool = Pool(reactor, parameters, setup, connections, waited)

    async def fetch(self, statement: Statement, **parameters: object) -> list[Row]:
        """See :class:`~qabel_block.ledger.interfaces.IDatabase`."""

        async def use(session: PostgresConnection) -> list[Row]:
            return (await session.run(statement, parameters)).rows

        return await shield(self._attempts(use, _READ_ATTEMPTS))

    async def transact(
        self, work: Callable[[ITransaction], Awaitable[T]], durable: bool = True
    ) -> T:
        """See :class:`~qabel_block.ledger.interfaces.IDatabase`."""

        async def use(session: PostgresConnection) -> T:
            transaction = PostgresTransaction(session, durable)
            try:
                result = await work(transaction)
            except Exception:
                await transaction.roll_back()
                raise
            await transaction.commit()
            return result

        return await shield(self._attempts(use, _CHANGE_ATTEMPTS))

    async def start(self) -> None:
        """See :class:`~qabel_block.ledger.interfaces.IDatabase`."""
        head()  # reads files, once

    async def check(self) -> None:
        """See :class:`~qabel_block.ledger.interfaces.IDatabase`."""
        require_head(await self.fetch(queries.revision))

    async def close(self) -> None:
        """See :class:`~qabel_block.ledger.interfaces.IDatabase`."""
        self._pool.close()

    async def _attempts(
        self, use: Callable[[PostgresConnection], Coroutine[Any, Any, T]], attempts: int
    ) -> T:
        """Call ``use`` with a connection until an attempt is not worth repeating.

        An attempt is repeated if a driver's error ends it that is a conflict or
        comes of a broken connection; what must not be repeated raises something
        else.
        """
        deadline = Deadline(self._reactor, self._deadline)
        fresh = False
        try:
            while True:
                attempts -= 1
                session = await self._pool.take(deadline, fresh)
                try:
                    with deadline.ends(session.close):
                        return await use(session)
                except DRIVER_ERRORS as error:
                    fresh = session.closed
                    if attempts and (fresh or is_conflict(error)):
                        continue
                    reason = unavailable(error)
                    if reason is None:
                        raise
                    raise reason from error
                finally:
                    self._pool.give_back(session)
        finally:
            deadline.cancel()


@implementer(ITransaction)
class PostgresTransaction:
    """A transaction that begins together with its first statement."""

    def __init__(self, session: PostgresConnection, durable: bool) -> None:
        self._session = session
        self._begin = _BEGIN if durable else _BEGIN_FORGETFUL
        self._begun = False
        self._committed = False

    async def fetch(self, statement: Statement, **parameters: object) -> list[Row]:
        """See :class:`~qabel_block.ledger.interfaces.ITransaction`."""
        return (await self._send(statement, parameters)).rows

    async def execute(self, statement: Statement, **parameters: object) -> int:
        """See :class:`~qabel_block.ledger.interfaces.ITransaction`."""
        return (await self._send(statement, parameters)).count

    async def finish(self, statement: Statement, **parameters: object) -> None:
        """See :class:`~qabel_block.ledger.interfaces.ITransaction`.

        :raises Exception: as :meth:`commit`.
        """
        # Before that: what is lost now was no commit.
        await self._session.prepare(statement)
        await self._commit(
            lambda: self._session.run(
                statement, parameters, self._opening(), "; COMMIT"
            )
        )

    async def commit(self) -> None:
        """Commit, unless that is done.

        :raises OutcomeUnknown: if the connection is lost meanwhile.
        :raises Unavailable: if the server rolled back instead.
        :raises Exception: one of the driver's errors, if it said why or never
            heard of the commit.
        """
        if self._begun and not self._committed:
            await self._commit(lambda: self._session.send("COMMIT"))

    async def roll_back(self) -> None:
        """Roll back; if that fails the connection is closed."""
        if self._begun and not self._session.closed:
            try:
                await self._session.send("ROLLBACK")
            except DRIVER_ERRORS:
                self._session.close()

    def _opening(self) -> str:
        begin = "" if self._begun else self._begin
        self._begun = True
        return begin

    async def _send(
        self, statement: Statement, parameters: dict[str, object]
    ) -> QueryResult:
        return await self._session.run(statement, parameters, self._opening())

    async def _commit(self, send: Callable[[], Awaitable[QueryResult]]) -> None:
        sent = not self._session.closed
        try:
            answer = await send()
        except DRIVER_ERRORS as error:
            if sent and self._session.closed:
                raise OutcomeUnknown(
                    "database", "the connection was lost during a commit"
                ) from error
            raise
        if answer.status != "COMMIT":
            raise Unavailable("database", "the transaction was rolled back")
        self._committed = True
