"""Several processes need a database and a cache that they can share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from qabel_block.ledger.migrate import upgrade


@pytest.fixture
def shared_options(
    new_postgres_database: Callable[[], str],
    redis_address: tuple[str, int],
    tmp_path: Path,
) -> tuple[str, ...]:
    """The options of a server on an empty database, for one user."""
    dsn = new_postgres_database()
    upgrade(dsn)
    host, port = redis_address
    return (
        *("--psql-dsn", dsn, "--local-storage", str(tmp_path / "objects")),
        *("--redis-host", host, "--redis-port", str(port), "--dummy-auth", "T"),
    )
