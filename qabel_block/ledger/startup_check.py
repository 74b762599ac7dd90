"""A look at the database before the server starts."""

from __future__ import annotations

import select
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ, POLL_WRITE

from qabel_block.config.config import PostgresLedger, SqliteLedger, TemporaryLedger
from qabel_block.errors import NotMigrated
from qabel_block.ledger import queries
from qabel_block.ledger.interfaces import Row
from qabel_block.ledger.migrate_check import not_migrated, require_head
from qabel_block.ledger.postgres.errors import unavailable

SECONDS = 3.0
"""How long a database is waited for that does not answer."""


def check_schema(chosen: PostgresLedger | SqliteLedger | TemporaryLedger) -> None:
    """Find out whether the database says that its schema is another version's.

    One that can't be asked at the moment is no reason not to start: ``/readyz``
    will tell. Blocks, for a few seconds at the most if its name can be resolved.

    :raises NotMigrated: in words for the operator.
    """
    if isinstance(chosen, PostgresLedger):
        try:
            found = _ask_postgres(chosen.dsn, time.monotonic() + SECONDS)
        except psycopg2.Error as error:
            reason = unavailable(error)
            if isinstance(reason, NotMigrated):
                raise reason from error
            return
        except TimeoutError:
            return
    elif isinstance(chosen, SqliteLedger) and not chosen.migrate:
        try:
            found = _ask_sqlite(chosen.path)
        except sqlite3.Error as error:
            if "no such table" in str(error):
                raise not_migrated() from error
            return
    else:
        return  # it is upgraded when the server starts
    require_head(found)


def _ask_postgres(dsn: str, deadline: float) -> Sequence[Row]:
    with closing(psycopg2.connect(dsn, async_=1)) as connection:
        _wait(connection, deadline)
        cursor = connection.cursor()
        cursor.execute(queries.revision.postgres)
        _wait(connection, deadline)
        rows: list[Row] = cursor.fetchall()
        return rows


def _wait(connection: Any, deadline: float) -> None:
    """Wait until a connection is ready.

    :raises TimeoutError: if that takes too long.
    """
    while (state := connection.poll()) != POLL_OK:
        readable = [connection] if state == POLL_READ else []
        writable = [connection] if state == POLL_WRITE else []
        left = max(0.0, deadline - time.monotonic())
        if select.select(readable, writable, [], left) == ([], [], []):
            raise TimeoutError


def _ask_sqlite(path: Path) -> Sequence[Row]:
    uri = f"{path.as_uri()}?mode=rw"
    with closing(sqlite3.connect(uri, uri=True, timeout=SECONDS)) as connection:
        return connection.execute(queries.revision.sqlite[0]).fetchall()
