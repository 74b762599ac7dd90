"""The ledger's database in one file, for installations of one process."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.defer import TimeoutError as TimedOut
from zope.interface import implementer

from qabel_block.errors import OutcomeUnknown, StorageFull, Unavailable
from qabel_block.ledger import migrate_check
from qabel_block.ledger.ballast import ballast_for, preallocate, restart_log
from qabel_block.ledger.interfaces import IDatabase, ITransaction, Row
from qabel_block.ledger.migrate_check import not_migrated, require_head
from qabel_block.ledger.sql import SQLITE_AGO, Statement, time_stamp_ago
from qabel_block.util.budget import time_left
from qabel_block.util.cancellation import shield
from qabel_block.util.threads import ThreadPool

T = TypeVar("T")

BUSY_SECONDS = 6.0
"""How long a statement waits for another process."""

CHECK_MILLISECONDS = 1000
"""How long a check waits for another process."""

LIMIT_SECONDS = 8.0
"""How long any call may take. The disk may stall for longer than that."""

_REASONS = {
    sqlite3.SQLITE_BUSY: "it is locked by somebody else",
    sqlite3.SQLITE_CANTOPEN: "its file can't be opened",
    sqlite3.SQLITE_CORRUPT: "its file is damaged",
    sqlite3.SQLITE_IOERR: "its file can't be read or written",
    sqlite3.SQLITE_NOTADB: "its file is no database",
    sqlite3.SQLITE_PERM: "its file may not be used",
    sqlite3.SQLITE_PROTOCOL: "it is locked by somebody else",
    sqlite3.SQLITE_READONLY: "its file may not be written",
}
_MISSING = re.compile("no such (table|column)|has no column")


@implementer(IDatabase)
class SqliteDatabase:
    """SQLite 3.35 or later, one thread for changes and one for everything else.

    The file must exist, migrated: that also puts it in the mode in which queries
    don't wait for changes. Another process may use it at the same time.

    :param reactor: where results are delivered; tells the time.
    :param path: the database's file.
    :param limit: seconds after which a call is given up.
    :param ballast: bytes kept beside the file, for changes that make room.
    """

    def __init__(
        self,
        reactor: Any,
        path: str,
        limit: float = LIMIT_SECONDS,
        ballast: int = 0,
    ) -> None:
        self._changes, self._queries = (
            SqliteThread(reactor, path, name, limit, ballast)
            for name in ("ledger-changes", "ledger-queries")
        )

    async def fetch(self, statement: Statement, **parameters: object) -> list[Row]:
        """See :class:`~qabel_block.ledger.interfaces.IDatabase`."""
        return await self._queries.run(
            lambda connection: _run(connection, statement, parameters).fetchall()
        )

    async def transact(
        self,
        work: Callable[[ITransaction], Awaitable[T]],
        durable: bool = True,
        frees_space: bool = False,
        repeatable: bool = False,
    ) -> T:
        """See :class:`~qabel_block.ledger.interfaces.IDatabase`.

        The whole of ``work`` is done in a thread. ``repeatable`` changes nothing: there
        is no connection that breaks.

        :raises StorageFull: if the disk is full.
        """
        try:
            return await self._changes.run(
                lambda connection: _transact(connection, work, durable), frees_space
            )
        except CallStalled as error:
            # It is still under way, and may be committed at any time.
            raise OutcomeUnknown(error.dependency, error.reason) from error

    async def start(self) -> None:
        """See :class:`~qabel_block.ledger.interfaces.IDatabase`."""
        self._changes.start()
        self._queries.start()

    async def check(self) -> None:
        """See :class:`~qabel_block.ledger.interfaces.IDatabase`.

        Where the last change failed, whether changes are possible is tried as well.
        """
        require_head(await self.fetch(migrate_check.revision))
        if self._changes.failing:
            await self._changes.run(_try_to_change)

    async def close(self) -> None:
        """See :class:`~qabel_block.ledger.interfaces.IDatabase`."""
        await self._queries.close()
        await self._changes.close()


class CallStalled(Unavailable):
    """A call that had begun did not end in time."""


class SqliteThread:
    """A connection, and the one thread in which it is used.

    A call that is stuck in the kernel can't be ended. Those behind it are given up
    when their time is over, without having begun.

    :param limit: seconds for a call, waiting for those before it included.
    :ivar failing: whether the last call failed because the database can't be used.
    """

    def __init__(
        self, reactor: Any, path: str, name: str, limit: float, ballast: int = 0
    ) -> None:
        self._reactor = reactor
        self._threads = ThreadPool(reactor, limit=1, name=name)
        self._one_call = DeferredLock()
        self._path = Path(path)
        self._ballast = ballast_for(self._path, ballast)
        self._limit = limit
        self._connection: sqlite3.Connection | None = None
        self.failing = False

    def start(self) -> None:
        """Get ready."""
        self._threads.start()

    async def run(
        self, function: Callable[[sqlite3.Connection], T], frees_space: bool = False
    ) -> T:
        """Call ``function`` with the connection, in the thread.

        :param frees_space: whether to give up the ballast for it, if the disk is full.

        :raises StorageFull: if the disk is full.
        :raises CallStalled: if the call began and does not end in time.
        :raises Unavailable: if the database can't be used.
        """
        limit = time_left(self._limit)
        deadline = self._reactor.seconds() + limit
        try:
            await self._one_call.acquire().addTimeout(limit, self._reactor)
        except TimedOut:
            reason = "its disk does not answer, or it is too busy"
            raise Unavailable("database", reason) from None
        left = max(0.0, deadline - self._reactor.seconds())
        call = shield(
            self._release_after(self._threads.run(self._call, function, frees_space))
        )
        try:
            return await call.addTimeout(left, self._reactor)
        except TimedOut:
            reason = f"no answer within {limit:.3g} seconds"
            raise CallStalled("database", reason) from None

    async def close(self) -> None:
        """Close the connection after the call that is under way."""
        await self._one_call.acquire()
        await self._release_after(self._threads.run(self._disconnect))
        self._threads.stop()

    async def _release_after(self, call: Coroutine[Deferred[Any], Any, T]) -> T:
        try:
            return await call
        finally:
            self._one_call.release()

    def _call(
        self, function: Callable[[sqlite3.Connection], T], frees_space: bool
    ) -> T:
        # On a disk that is full not even a first query is possible: the log's index is
        # a file as well.
        may_give_up = frees_space or self._connection is None
        try:
            result = self._try(function)
        except (StorageFull, Unavailable) as error:
            if isinstance(error, OutcomeUnknown) or not may_give_up:
                raise
            if not self._gain_space(frees_space):
                raise
            result = self._try(function)
        if frees_space:
            self._ballast.allocate()
        return result

    def _gain_space(self, for_change: bool) -> bool:
        """Gain space on a disk that is full; return whether there may be some now."""
        released = self._ballast.release()
        if not for_change:
            return released
        try:
            self._try(preallocate if released else restart_log)
        except (StorageFull, Unavailable):
            return released
        return True

    def _try(self, function: Callable[[sqlite3.Connection], T]) -> T:
        try:
            if self._connection is None:
                self._connection = _connect(self._path)
            result = function(self._connection)
            self.failing = False
            return result
        except sqlite3.Error as error:
            reason = _reason(error)
            if reason is None:
                raise
            self.failing = isinstance(reason, Unavailable)
            if isinstance(reason, StorageFull):
                # To close it could give the log's space back.
                self._roll_back()
            else:
                # What comes next begins afresh, perhaps on a file that was mended.
                self._disconnect()
            raise reason from error
        except OutcomeUnknown:
            self._disconnect()
            raise

    def _roll_back(self) -> None:
        """End a transaction that could not be committed."""
        try:
            if self._connection is not None and self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            self._disconnect()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _connect(path: Path) -> sqlite3.Connection:
    # Not created if it isn't there: a path that is mistyped shall be noticed.
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.execute("PRAGMA synchronous = FULL")
    connection.create_function(SQLITE_AGO, 1, time_stamp_ago)
    return connection


def _reason(error: sqlite3.Error) -> StorageFull | Unavailable | None:
    """Return what to raise instead, ``None`` for a mistake in a statement."""
    code = _code(error)
    if code == sqlite3.SQLITE_FULL:
        return StorageFull("no room for the database")
    if code == sqlite3.SQLITE_ERROR and _MISSING.search(str(error)):
        return not_migrated()
    if code in _REASONS:
        return Unavailable("database", _REASONS[code])
    return None


def _code(error: sqlite3.Error) -> int:
    """Return SQLite's result code, without what extends it."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _run(
    connection: sqlite3.Connection, statement: Statement, parameters: dict[str, object]
) -> sqlite3.Cursor:
    *before, last = statement.sqlite
    for text in before:
        connection.execute(text, parameters)
    return connection.execute(last, parameters)


def _transact(
    connection: sqlite3.Connection,
    work: Callable[[ITransaction], Awaitable[T]],
    durable: bool,
) -> T:
    with _synchronous(connection, durable):
        connection.execute("BEGIN IMMEDIATE")
        try:
            result = _drive(work(SqliteTransaction(connection)))
        except BaseException:
            # Some errors end the transaction themselves.
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        _commit(connection)
        return result


def _try_to_change(connection: sqlite3.Connection) -> None:
    """See whether a change is possible, without waiting for long."""
    connection.execute(f"PRAGMA busy_timeout = {CHECK_MILLISECONDS}")
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    finally:
        connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000:.0f}")


def _commit(connection: sqlite3.Connection) -> None:
    try:
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        if _code(error) == sqlite3.SQLITE_FULL:
            raise
        # It may have reached the disk, and be found there after a crash.
        raise OutcomeUnknown("database", "a commit failed") from error


@contextmanager
def _synchronous(connection: sqlite3.Connection, durable: bool) -> Iterator[None]:
    """Let a transaction that a crash may forget not wait for the disk."""
    if durable:
        yield
        return
    connection.execute("PRAGMA synchronous = NORMAL")
    try:
        yield
    finally:
        connection.execute("PRAGMA synchronous = FULL")


def _drive(awaitable: Awaitable[T]) -> T:
    """Return what ``awaitable`` returns, which waits for nothing."""
    steps = awaitable.__await__()
    try:
        next(steps)
    except StopIteration as end:
        result: T = end.value
        return result
    raise RuntimeError("a transaction's work awaited something other than it")


@implementer(ITransaction)
class SqliteTransaction:
    """A transaction whose statements are done when they are awaited."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    async def fetch(self, statement: Statement, **parameters: object) -> list[Row]:
        """See :class:`~qabel_block.ledger.interfaces.ITransaction`."""
        return _run(self._connection, statement, parameters).fetchall()

    async def execute(self, statement: Statement, **parameters: object) -> int:
        """See :class:`~qabel_block.ledger.interfaces.ITransaction`."""
        return _run(self._connection, statement, parameters).rowcount

    async def finish(self, statement: Statement, **parameters: object) -> None:
        """See :class:`~qabel_block.ledger.interfaces.ITransaction`."""
        # There are no round trips here: the commit comes by itself.
        _run(self._connection, statement, parameters)
