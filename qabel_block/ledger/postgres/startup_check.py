"""Asks PostgreSQL for its schema's revision before a reactor runs."""

from __future__ import annotations

import select
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ, POLL_WRITE

from qabel_block.errors import NotMigrated
from qabel_block.ledger import migrate_check
from qabel_block.ledger.interfaces import Row
from qabel_block.ledger.postgres.errors import unavailable


def fetch_revision(dsn: str, seconds: float) -> Sequence[Row] | None:
    """Return the rows of Alembic's table.

    :param seconds: to wait for a database that does not answer.
    :return: ``None`` if the database can't be asked at the moment.
    :raises NotMigrated: if it has no such table.
    """
    try:
        return _fetch(dsn, time.monotonic() + seconds)
    except psycopg2.Error as error:
        reason = unavailable(error)
        if isinstance(reason, NotMigrated):
            raise reason from error
        return None
    except TimeoutError:
        return None


def _fetch(dsn: str, deadline: float) -> Sequence[Row]:
    with closing(psycopg2.connect(dsn, async_=1)) as connection:
        _wait(connection, deadline)
        cursor = connection.cursor()
        cursor.execute(migrate_check.revision.postgres)
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
