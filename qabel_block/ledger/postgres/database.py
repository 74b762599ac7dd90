"""The ledger's database on PostgreSQL."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from zope.interface import implementer

from qabel_block.errors import OutcomeUnknown, Unavailable
from qabel_block.ledger import migrate_check
from qabel_block.ledger.interfaces import IDatabase, ITransaction, Row
from qabel_block.ledger.migrate_check import require_head
from qabel_block.ledger.postgres.connection import (
    PostgresConnection,
    QueryResult,
    Settings,
)
from qabel_block.ledger.postgres.deadline import Deadline
from qabel_block.ledger.postgres.dsn import postgres_parameters
from qabel_block.ledger.postgres.errors import (
    DRIVER_ERRORS,
    READ_ONLY,
    is_conflict,
    is_internal,
    is_outdated_plan,
    is_pooler,
    is_read_only,
    unavailable,
)
from qabel_block.ledger.postgres.pool import Pool
from qabel_block.ledger.sql import RawStatement, Statement
from qabel_block.util.budget import time_left
from qabel_block.util.cancellation import shield

T = TypeVar("T")

# The server gives up a little before we do: then the connection can stay. A
# client that dies must not keep others waiting for the rows it locked. And 204
# promises that the change survives a crash, so a server whose default says
# otherwise is told; stronger settings are the operator's and stay. Every row is
# found by its key; a plan that was made while a table was small, when reading
# all of it seemed as good, would be kept for too long.
_SETTINGS = """\
SET {scope} statement_timeout TO {timeout};
SET {scope} lock_timeout TO {timeout};
SET {scope} idle_in_transaction_session_timeout TO {limit};
SET {scope} enable_seqscan TO off;
SELECT set_config('synchronous_commit', 'on', '{scope}' = 'LOCAL')
WHERE current_setting('synchronous_commit') = 'off'\
"""

_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED; "
_FORGETFUL = "SET LOCAL synchronous_commit TO OFF; "
_READ_ONLY = RawStatement("SHOW transaction_read_only")

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
        settings = Settings(
            *(
                _SETTINGS.format(
                    scope=scope, timeout=milliseconds * 9 // 10, limit=milliseconds
                )
                for scope in ("SESSION", "LOCAL")
            )
        )
        parameters = postgres_parameters(dsn)
        self._pool = Pool(reactor, parameters, settings, connections, waited)

    async def fetch(self, statement: Statement, **parameters: object) -> list[Row]:
        """See :class:`~qabel_block.ledger.interfaces.IDatabase`."""

        async def use(session: PostgresConnection) -> list[Row]:
            before = session.transaction_settings
            return (await session.run(statement, parameters, before)).rows

        return await shield(self._attempts(use, _READ_ATTEMPTS))

    async def transact(
        self,
        work: Callable[[ITransaction], Awaitable[T]],
        durable: bool = True,
        frees_space: bool = False,
        repeatable: bool = False,
    ) -> T:
        """See :class:`~qabel_block.ledger.interfaces.IDatabase`.

        ``frees_space`` changes nothing: the server's disk is not ours.
        """

        async def use(session: PostgresConnection) -> T:
            transaction = PostgresTransaction(session, durable, repeatable)
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

    async def check(self) -> None:
        """See :class:`~qabel_block.ledger.interfaces.IDatabase`."""
        require_head(await self.fetch(migrate_check.revision))
        if await self._is_read_only():
            # The name may lead to another server meanwhile.
            self._pool.renew()
            if await self._is_read_only():
                raise Unavailable("database", READ_ONLY)

    async def _is_read_only(self) -> bool:
        """Whether sessions can't write: on a standby, or as the operator wants it."""
        return await self.fetch(_READ_ONLY) == [("on",)]

    async def close(self) -> None:
        """See :class:`~qabel_block.ledger.interfaces.IDatabase`."""
        self._pool.close()

    async def _attempts(
        self, use: Callable[[PostgresConnection], Coroutine[Any, Any, T]], attempts: int
    ) -> T:
        """Call ``use`` with a connection until an attempt is not worth repeating.

        An attempt is repeated if a driver's error ends it that is a conflict or
        comes of a broken connection, of a pooler that nobody knew of, of a change to
        the schema or, once, of a session that can't write; what must not be repeated
        raises something else.
        """
        deadline = Deadline(self._reactor, time_left(self._deadline))
        fresh = renewed = False
        try:
            while True:
                attempts -= 1
                session = await self._pool.take(deadline, fresh)
                try:
                    with deadline.ends(session.close):
                        return await use(session)
                except DRIVER_ERRORS as error:
                    fresh = session.closed
                    again = fresh or is_conflict(error)
                    if is_pooler(error):
                        self._pool.expect_pooler()
                        again = True
                    elif is_internal(error):
                        session.close()
                    elif is_outdated_plan(error):
                        session.close()
                        again = fresh = True
                    elif is_read_only(error) and not renewed:
                        self._pool.renew()
                        again = renewed = True
                    if attempts and again:
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

    def __init__(
        self, session: PostgresConnection, durable: bool, repeatable: bool
    ) -> None:
        self._session = session
        self._durable = durable
        self._repeatable = repeatable
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
        if self._begun:
            return ""
        self._begun = True
        settings = self._session.transaction_settings
        return f"{_BEGIN}{settings}{'' if self._durable else _FORGETFUL}"

    async def _send(
        self, statement: Statement, parameters: dict[str, object]
    ) -> QueryResult:
        return await self._session.run(statement, parameters, self._opening())

    async def _commit(self, send: Callable[[], Awaitable[QueryResult]]) -> None:
        sent = not self._session.closed
        try:
            answer = await send()
        except DRIVER_ERRORS as error:
            if sent and self._session.closed and not self._repeatable:
                raise OutcomeUnknown(
                    "database", "the connection was lost during a commit"
                ) from error
            raise
        if answer.status != "COMMIT":
            raise Unavailable("database", "the transaction was rolled back")
        self._committed = True
