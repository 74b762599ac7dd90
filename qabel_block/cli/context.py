"""What a command works on: ledger, storage, report, progress."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from attrs import frozen

from qabel_block.cli.locations import DataLocations
from qabel_block.cli.progress import Progress
from qabel_block.cli.reports import Report
from qabel_block.cli.runner import CommandFailed, Interruption
from qabel_block.config.config import PostgresLedger, SqliteLedger
from qabel_block.errors import Unavailable
from qabel_block.factories import (
    make_blob_counter,
    make_database,
    make_listing,
    make_storage,
)
from qabel_block.interfaces import IBlobListing, IStorageBackend
from qabel_block.ledger.accounts import AccountTable
from qabel_block.ledger.installation import InstallationRecord
from qabel_block.ledger.interfaces import IDatabase
from qabel_block.ledger.ledger import Ledger
from qabel_block.ledger.maintenance import Maintenance
from qabel_block.operations.identity import IdentityCheck
from qabel_block.storage.identified import IdentifiedStorage
from qabel_block.util.cancellation import shield
from qabel_block.util.threads import ThreadPool

TIMEOUT = 120.0
"""Seconds that a question to PostgreSQL may take. No client waits for it."""

FIRST_ANSWER = 15.0
"""Seconds after which a database that says nothing counts as down."""

PART_SIZE_FOR = 2**31
"""Bytes of the largest upload; the tools upload nothing."""


@frozen
class CommandContext:
    """One call of a command.

    :ivar arguments: its own; see its ``add_arguments``.
    :ivar now: seconds since 1970.
    """

    locations: DataLocations
    arguments: Namespace
    report: Report
    progress: Progress
    interruption: Interruption
    reactor: Any
    now: Callable[[], float]

    def advance(self, count: int) -> None:
        """So many more are done, and what was done is safe.

        :raises Interrupted: if that shall be all.
        """
        self.progress.advance(count)
        self.interruption.check()


@frozen
class CommandParts:
    """A ledger and its storage, in use.

    :ivar identity: whether they belong to each other. Who uses ``storage`` for the
        first time has them compared; who only lists it has to ask.
    """

    database: IDatabase
    ledger: Ledger
    maintenance: Maintenance
    identity: IdentityCheck
    storage: IStorageBackend
    listing: IBlobListing


@asynccontextmanager
async def open_parts(context: CommandContext) -> AsyncIterator[CommandParts]:
    """Give the parts that a command works on, and close them at the end.

    :raises Unavailable: if the database can't be used, or is not migrated.
    """
    locations, reactor = context.locations, context.reactor
    threads = ThreadPool(reactor, locations.transfers, "transfers")
    chosen, transfers = locations.storage, locations.transfers
    inner = make_storage(chosen, transfers, PART_SIZE_FOR, threads, reactor)
    listing = make_listing(chosen, transfers, threads, reactor)
    threads.start()
    try:
        async with open_ledger(context) as parts:
            count_blobs = make_blob_counter(chosen, transfers, threads, reactor)
            record = InstallationRecord(parts.database)
            identity = IdentityCheck(record, inner, count_blobs)
            storage = IdentifiedStorage(inner, identity.bind, reactor)
            yield CommandParts(
                parts.database,
                parts.ledger,
                parts.maintenance,
                identity,
                storage,
                listing,
            )
    finally:
        context.progress.end()
        await listing.close()
        await inner.close()
        threads.stop()


@frozen
class LedgerParts:
    """A ledger, in use."""

    database: IDatabase
    ledger: Ledger
    maintenance: Maintenance


@asynccontextmanager
async def open_ledger(context: CommandContext) -> AsyncIterator[LedgerParts]:
    """Give a command the ledger alone, and close it at the end.

    :raises Unavailable: if the database can't be used, or is not migrated.
    """
    async with open_database(context) as database:
        ledger = Ledger(database, context.reactor.seconds)
        yield LedgerParts(database, ledger, Maintenance(database))


@asynccontextmanager
async def open_database(context: CommandContext) -> AsyncIterator[IDatabase]:
    """Give a command the ledger's database, and close it at the end.

    :raises Unavailable: if the database can't be used, or is not migrated.
    """
    database, _ = make_database(context.locations.ledger, context.reactor, TIMEOUT)
    _check_file(context.locations.ledger)
    await database.start()
    try:
        checking = shield(database.check())
        await checking.addTimeout(FIRST_ANSWER, context.reactor, _silent)
        yield database
    finally:
        context.progress.end()
        await database.close()


@asynccontextmanager
async def open_accounts(
    context: CommandContext, create: bool = False
) -> AsyncIterator[AccountTable]:
    """Give the users, and close the ledger at the end.

    :param create: whether the ledger of ``--standalone`` is made if it is not there:
        users may be added before the server is started for the first time.
    :raises Unavailable: if the database can't be used, or is not migrated.
    """
    chosen = context.locations.ledger
    if create and isinstance(chosen, SqliteLedger) and not _is_there(chosen.path):
        _, prepare = make_database(chosen, context.reactor)
        prepare()
    async with open_database(context) as database:
        yield AccountTable(database, context.reactor.seconds)


def _check_file(ledger: PostgresLedger | SqliteLedger) -> None:
    """Refuse a file that is not there, which only the server or migrate makes."""
    if isinstance(ledger, SqliteLedger) and not _is_there(ledger.path):
        raise CommandFailed(
            f"database: there is no file {ledger.path}; the server makes it when it"
            f" starts, or run: qabel-block migrate --psql-dsn sqlite:///{ledger.path}"
        )


def _is_there(path: Path) -> bool:
    """Say whether there is a file.

    :raises CommandFailed: if that can't be found out.
    """
    try:
        return path.exists()
    except OSError as error:
        raise CommandFailed(f"database: {path}: {error.strerror}") from error


def _silent(_result: object, seconds: float) -> None:
    raise Unavailable("database", f"no answer within {seconds:g} seconds")
