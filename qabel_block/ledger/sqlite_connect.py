"""Opens the file of a SQLite ledger, for what blocks."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress


def connect_sqlite(path: str) -> sqlite3.Connection:
    """Connect to a file, which is put in the mode in which queries don't wait for
    changes, and made for its owner alone if it is not there."""
    # Knowing a prefix is all it takes to read. The log's files get the same mode. What
    # can't be made SQLite complains about itself.
    with suppress(OSError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    connection = sqlite3.connect(path, timeout=10, isolation_level=None)
    # The file keeps this mode. It can't be changed while others use the file.
    with suppress(sqlite3.OperationalError):
        connection.execute("PRAGMA journal_mode = WAL")
    return connection
