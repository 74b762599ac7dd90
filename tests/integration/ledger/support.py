"""What tests of the ledger have in common."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Iterable, Iterator
from contextlib import closing, contextmanager
from typing import Any, TypeVar

import psycopg2
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

from qabel_block.ledger.ledger import Ledger
from qabel_block.model import Change, ObjectName, PendingBlob, WriteState
from qabel_block.names import Versions, blob_key
from tests.support.database import query

T = TypeVar("T")

P = "0a9a2f0c-9d4c-4b43-9a31-2c4f0bd3b4b1"
Q = "1b0b3e1d-8c5d-4c54-8b42-3d5e1ce4c5c2"
OWNER = 7
OTHER = 8


class MovableTime:
    """A clock that goes on by a millisecond whenever it is read."""

    def __init__(self) -> None:
        self.seconds = 1_800_000_000.0

    def __call__(self) -> float:
        self.seconds += 0.001
        return self.seconds


_versions = Versions(MovableTime())


async def at_once(awaitables: Iterable[Awaitable[T]]) -> list[T | Exception]:
    """Await all at the same time; return what they return or raise."""

    async def outcome(awaitable: Awaitable[T]) -> T | Exception:
        try:
            return await awaitable
        except Exception as error:
            return error

    results: list[tuple[bool, Any]] = await DeferredList(
        [Deferred.fromCoroutine(outcome(awaitable)) for awaitable in awaitables]
    )
    return [result for _, result in results]


def allow(state: WriteState) -> None:
    """Decide that everything is allowed."""


def name(path: str, prefix: str = P) -> ObjectName:
    return ObjectName(prefix, path)


async def noted(
    ledger: Ledger, name: ObjectName, size: int = 10, version: str = ""
) -> PendingBlob:
    """Note a blob as if it had just been written.

    :param version: by default, one of now.
    """
    version = version or _versions.next()
    key = blob_key(name, version)
    await ledger.note_blob(key)
    return PendingBlob(key, size, f'"{version}"', f"{size:064x}")


async def upload(ledger: Ledger, name: ObjectName, size: int = 10) -> PendingBlob:
    """Store an object, whatever is there."""
    blob = await noted(ledger, name, size)
    await ledger.commit_upload(name, blob, allow, None)
    return blob


async def overwrite(ledger: Ledger, name: ObjectName, size: int) -> Change:
    """Store an object and return what that changed."""
    blob = await noted(ledger, name, size)
    return await ledger.commit_upload(name, blob, allow, None)


def change(dsn: str, *statements: str) -> None:
    """Change a database behind the ledger's back."""
    if dsn.startswith("sqlite:///"):
        with closing(sqlite3.connect(dsn.removeprefix("sqlite:///"))) as lite, lite:
            for statement in statements:
                lite.execute(statement)
    else:
        with closing(psycopg2.connect(dsn)) as connection, connection:
            for statement in statements:
                connection.cursor().execute(statement)


def age_garbage(dsn: str, seconds: float) -> None:
    """Let all garbage be noted so long before, as if that time had passed."""
    since = (
        f"strftime('%Y-%m-%dT%H:%M:%f', since, '-{seconds} seconds') || '000+00:00'"
        if dsn.startswith("sqlite:///")
        else f"since - interval '{seconds} seconds'"
    )
    change(dsn, f"UPDATE garbage SET since = {since}")


def waiting_for_locks(dsn: str) -> int:
    """Return how many of PostgreSQL's sessions wait for somebody else's lock."""
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        " AND datname = current_database()"
    )
    return int(query(dsn, waiting)[0][0])


@contextmanager
def logged() -> Iterator[list[LogEvent]]:
    """Collect what is logged."""
    observer = _Collected()
    globalLogPublisher.addObserver(observer)
    try:
        yield observer.events
    finally:
        globalLogPublisher.removeObserver(observer)


@implementer(ILogObserver)
class _Collected:
    def __init__(self) -> None:
        self.events: list[LogEvent] = []

    def __call__(self, event: LogEvent) -> None:
        self.events.append(event)


def tracebacks(events: Iterable[LogEvent]) -> list[LogEvent]:
    return [event for event in events if "log_failure" in event]
