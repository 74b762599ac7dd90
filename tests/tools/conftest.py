"""Databases for the tools to work on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from qabel_block.ledger.migrate import upgrade

KINDS = ["postgresql", "sqlite"]


@pytest.fixture(params=KINDS)
def empty_dsn(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without any table, of each kind."""
    if request.param == "sqlite":
        path = tmp_path / "ledger.sqlite"
        path.touch()
        return f"sqlite:///{path}"
    new: Callable[[], str] = request.getfixturevalue("new_postgres_database")
    return new()


@pytest.fixture
def dsn(empty_dsn: str) -> str:
    """A migrated database, of each kind."""
    upgrade(empty_dsn)
    return empty_dsn
