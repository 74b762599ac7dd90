"""What the ledger asks of a relational database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from zope.interface import Interface

from qabel_block.ledger.sql import Statement

T = TypeVar("T")
Row = tuple[Any, ...]


class ITransaction(Interface):
    """An open transaction, at least at the level READ COMMITTED.

    Each statement sees what was committed before it began.
    """

    async def fetch(statement: Statement, **parameters: object) -> list[Row]:
        """Run a query and return all rows."""

    async def execute(statement: Statement, **parameters: object) -> int:
        """Run a change and return the number of rows it touched."""

    async def finish(statement: Statement, **parameters: object) -> None:
        """Run the last change of the transaction, and commit with it.

        That saves a round trip. Nothing may follow.
        """


class IDatabase(Interface):
    """A relational database with the ledger's schema.

    All methods raise :class:`~qabel_block.errors.Unavailable` if it is down,
    too slow, or not migrated.
    """

    async def fetch(statement: Statement, **parameters: object) -> list[Row]:
        """Run one query outside a transaction; it is repeated if a
        connection turns out to be stale."""

    async def transact(
        work: Callable[[ITransaction], Awaitable[T]],
        durable: bool = True,
        frees_space: bool = False,
        repeatable: bool = False,
    ) -> T:
        """Call ``work`` with an :class:`ITransaction` and commit.

        ``work`` awaits nothing but its transaction, and may be called again
        from the start if the connection breaks before the commit was sent.
        If it raises, the transaction is rolled back and the error passed on.

        :raises OutcomeUnknown: if the database was lost while it committed.
        :raises Unavailable: for any other trouble: nothing was committed.

        :param durable: ``False`` if a crash of the database may forget this
            transaction for the sake of speed.
        :param frees_space: whether it must be made even on a disk that is full, since
            it leads to there being room again.
        :param repeatable: whether it does no harm to commit this twice: then it is done
            once more, too, if the connection breaks while it is committed.
        """

    async def start() -> None:
        """Make ready, without waiting for a database that is down."""

    async def check() -> None:
        """Find out whether the database answers and has the ledger's schema.

        :raises Unavailable: if not, in words an operator understands.
        """

    async def close() -> None:
        """Release everything. Nothing else is called afterwards."""
