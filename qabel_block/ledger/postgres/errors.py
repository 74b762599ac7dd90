"""Maps errors of psycopg2 and txpostgres to domain errors."""

from __future__ import annotations

import psycopg2
from psycopg2 import errors
from psycopg2.extensions import TransactionRollbackError
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionDone, ConnectionLost
from txpostgres.txpostgres import UnexpectedPollResult

from qabel_block.errors import RowLocked, Unavailable
from qabel_block.ledger.migrate_check import not_migrated

READ_ONLY = "it is read-only (a standby?)"

DRIVER_ERRORS = (
    psycopg2.Error,
    ConnectionDone,
    ConnectionLost,
    UnexpectedPollResult,
    # This is how txpostgres says that the server's statement_timeout is over.
    CancelledError,
)
"""Everything that a query may raise."""

_INTERNAL = (errors.InternalError_, errors.DataCorrupted, errors.IndexCorrupted)

_REASONS: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    ((errors.InsufficientPrivilege,), "its role lacks privileges"),
    ((CancelledError,), "it took too long"),
    ((errors.ReadOnlySqlTransaction,), READ_ONLY),
    ((errors.DiskFull,), "its disk is full"),
    (_INTERNAL, "it reports an internal error"),
    ((errors.FeatureNotSupported,), "its schema has just been changed"),
    ((TransactionRollbackError,), "too many conflicts with other transactions"),
    (
        (
            psycopg2.OperationalError,
            psycopg2.InterfaceError,
            errors.IdleInTransactionSessionTimeout,
            ConnectionDone,
            ConnectionLost,
            UnexpectedPollResult,
        ),
        "the connection was lost",
    ),
)


def unavailable(error: Exception) -> Unavailable | None:
    """Return what to raise for an error of the driver.

    The driver's own words stay out of it: they name hosts and users.

    :return: ``None`` if the error is none of the database's state, but a
        mistake in a statement or its parameters.
    """
    if isinstance(error, errors.UndefinedTable | errors.UndefinedColumn):
        return not_migrated()
    if isinstance(error, errors.LockNotAvailable):
        return RowLocked("database", "waiting for a lock took too long")
    for kinds, reason in _REASONS:
        if isinstance(error, kinds):
            return Unavailable("database", reason)
    return None


def is_read_only(error: Exception) -> bool:
    """Say whether the session can't write: it leads to a standby, or did when it was
    opened."""
    return isinstance(error, errors.ReadOnlySqlTransaction)


def is_pooler(error: Exception) -> bool:
    """Say whether a prepared statement was not where it was prepared: a pooler gives
    each transaction another session (PgBouncer's ``pool_mode = transaction``)."""
    return isinstance(
        error, errors.DuplicatePreparedStatement | errors.InvalidSqlStatementName
    )


def is_internal(error: Exception) -> bool:
    """Say whether the server itself has failed: its session may not be in order."""
    return isinstance(error, _INTERNAL)


def is_outdated_plan(error: Exception) -> bool:
    """Say whether a prepared statement would return other types now, since somebody
    has changed the schema."""
    return isinstance(error, errors.FeatureNotSupported)


def is_conflict(error: Exception) -> bool:
    """Say whether the server rolled back in favour of another transaction.

    That is a deadlock or a serialization failure; the same work may succeed if
    it is done once more.
    """
    return isinstance(error, TransactionRollbackError)
