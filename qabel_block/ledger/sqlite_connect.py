"""Opens the file of a SQLite ledger, for what blocks."""

from __future__ import annotations

import sqlite3
from contextlib import suppress


def connect_sqlite(path: str) -> sqlite3.Connection:
    """Connect to a file, which is put in the mode in which queries don't wait for
    changes."""
    connection = sqlite3.connect(path, timeout=10, isolation_level=None)
    # The file keeps this mode. It can't be changed while others use the file.
    with suppress(sqlite3.OperationalError):
        connection.execute("PRAGMA journal_mode = WAL")
    return connection
