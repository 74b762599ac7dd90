"""The part of the composition root that the server and the tools share.

What belongs to one kind of storage or database is imported where that is chosen:
importing them all takes longer than many a command.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from qabel_block.config.config import (
    LocalDirectory,
    PostgresLedger,
    S3Bucket,
    SqliteLedger,
    TemporaryDirectory,
    TemporaryLedger,
)
from qabel_block.interfaces import IBlobListing, IStorageBackend
from qabel_block.ledger.interfaces import IDatabase
from qabel_block.util.threads import ThreadPool

if TYPE_CHECKING:
    from qabel_block.storage.s3.client import S3Client


def _no_matter(_what: object) -> None:
    pass


def make_storage(
    chosen: LocalDirectory | TemporaryDirectory | S3Bucket,
    transfers: int,
    max_body_size: int,
    threads: ThreadPool,
    reactor: Any,
    s3_time: Callable[[float], None] = _no_matter,
) -> IStorageBackend:
    """Return the storage, not started.

    :param transfers: storage operations that run in threads at a time.
    :param max_body_size: bytes of the largest upload.
    :param s3_time: told how many seconds each request to S3 took.
    """
    if isinstance(chosen, LocalDirectory):
        from qabel_block.storage.local.storage import LocalStorage

        return LocalStorage(chosen.path, threads, reserve=chosen.reserve)
    if isinstance(chosen, TemporaryDirectory):
        from qabel_block.storage.temporary import TemporaryStorage

        return TemporaryStorage(threads)

    from qabel_block.storage.s3.storage import S3Storage

    return S3Storage(
        lambda: _connect(chosen, transfers, s3_time),
        threads,
        reactor,
        time.time,
        max_body_size,
    )


def make_listing(
    chosen: LocalDirectory | S3Bucket, transfers: int, threads: ThreadPool, reactor: Any
) -> IBlobListing:
    """Return what lists a storage, for the tools."""
    if isinstance(chosen, LocalDirectory):
        from qabel_block.storage.local.listing import LocalListing

        return LocalListing(chosen.path, threads)
    from qabel_block.storage.s3.listing import S3Listing

    return S3Listing(lambda: _connect(chosen, transfers), threads, reactor, transfers)


def make_blob_counter(
    chosen: LocalDirectory | TemporaryDirectory | S3Bucket,
    transfers: int,
    threads: ThreadPool,
    reactor: Any,
) -> Callable[[Sequence[str]], Coroutine[Deferred[Any], Any, int]]:
    """Return what tells how many of some blobs a storage holds.

    It is made for a few calls: nothing stays open between them.
    """

    async def count(keys: Sequence[str]) -> int:
        if isinstance(chosen, TemporaryDirectory):
            return 0  # it forgets everything at exit
        if isinstance(chosen, LocalDirectory) and not await threads.run(
            chosen.path.is_dir
        ):
            return 0
        listing = make_listing(chosen, transfers, threads, reactor)
        try:
            return len(await listing.stat(keys))
        finally:
            await listing.close()

    return count


def _connect(
    chosen: S3Bucket, connections: int, record: Callable[[float], None] = _no_matter
) -> S3Client:
    from qabel_block.storage.s3.client import S3Client

    return S3Client(
        chosen.bucket, chosen.endpoint_url, chosen.region, connections, record
    )


def make_database(
    chosen: PostgresLedger | SqliteLedger | TemporaryLedger,
    reactor: Any,
    deadline: float = 10.0,
    waited: Callable[[float], None] = lambda _seconds: None,
) -> tuple[IDatabase, Callable[[], None]]:
    """Return the database, and what must be done before it is used; that may
    block.

    :param deadline: seconds that any call may take.
    :param waited: told how long somebody waited for a connection to that.
    """
    if isinstance(chosen, PostgresLedger):
        from qabel_block.ledger.postgres.database import PostgresDatabase

        database = PostgresDatabase(
            reactor, chosen.dsn, deadline=deadline, waited=waited
        )
        return database, lambda: None
    from qabel_block.ledger.ballast import BALLAST_BYTES
    from qabel_block.ledger.prepare_sqlite import prepare_sqlite
    from qabel_block.ledger.sqlite import SqliteDatabase

    if isinstance(chosen, SqliteLedger):
        path, migrate = chosen.path, chosen.migrate
    else:
        from qabel_block.storage.temporary import temporary_directory

        path, migrate = temporary_directory() / "ledger.sqlite", True
    in_file = SqliteDatabase(reactor, str(path), deadline, BALLAST_BYTES)
    return in_file, lambda: prepare_sqlite(path, migrate)


def check_ledger(chosen: PostgresLedger | SqliteLedger | TemporaryLedger) -> None:
    """Find out whether the database says that its schema is another version's.

    A SQLite ledger is made if it is not there. Blocks, for a few seconds at the most
    if the database's name can be resolved.

    :raises NotMigrated: in words for the operator.
    :raises CannotStart: likewise.
    """
    if isinstance(chosen, PostgresLedger):
        from qabel_block.ledger.startup_check import check_postgres

        check_postgres(chosen.dsn)
    elif isinstance(chosen, SqliteLedger):
        from qabel_block.ledger.prepare_sqlite import prepare_sqlite

        prepare_sqlite(chosen.path, chosen.migrate)
