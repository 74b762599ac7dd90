"""Databases and storages for the tools to work on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import frozen

from qabel_block.cli.commands import GROUPS
from qabel_block.ledger.migrate import upgrade
from tests.support.legacy import LegacyBucket, LegacyDirectory, LegacyStorage
from tests.support.s3 import NAMED, store_named
from tests.support.tools import Ended, run_tool

KINDS = ["postgresql", "sqlite"]
STORED = (
    ("postgresql, local", "sqlite, local", "sqlite, named")
    if NAMED
    else (
        "postgresql, local",
        "sqlite, local",
        "postgresql, moto",
        "sqlite, seaweedfs-https",
    )
)


on_two = pytest.mark.parametrize(
    "empty_installation", ["postgresql, local", STORED[-1]], indirect=True
)
"""Marks tests for which it is enough that each kind is in it once."""

on_sqlite = pytest.mark.parametrize("local", ["sqlite"], indirect=True)
"""Marks tests that don't concern the database."""


@pytest.fixture(params=KINDS)
def empty_dsn(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without any table, of each kind."""
    return _empty(request.param, request, tmp_path)


@pytest.fixture
def dsn(empty_dsn: str) -> str:
    """A migrated database, of each kind."""
    upgrade(empty_dsn)
    return empty_dsn


@frozen
class Installation:
    """A database and a storage."""

    dsn: str
    storage: LegacyStorage

    @property
    def places(self) -> tuple[str, ...]:
        """The options that name the two."""
        return ("--psql-dsn", self.dsn, *self.storage.options)

    def run(self, *words: str) -> Ended:
        """Run a command on it."""
        count = 2 if words[0] in GROUPS else 1
        command, rest = words[:count], words[count:]
        places = (*self.places, "--json", "--quiet") if len(command) == count else ()
        environment = self.storage.environment
        return run_tool(*command, *places, *rest, environment=environment)


@pytest.fixture(params=STORED)
def empty_installation(request: pytest.FixtureRequest, tmp_path: Path) -> Installation:
    """Each kind of database and of storage, with nothing in them."""
    kind, storage = request.param.split(", ")
    return Installation(
        _empty(kind, request, tmp_path), _storage(storage, request, tmp_path)
    )


@pytest.fixture
def installation(empty_installation: Installation) -> Installation:
    """The same, migrated."""
    upgrade(empty_installation.dsn)
    return empty_installation


@pytest.fixture(params=KINDS)
def local(request: pytest.FixtureRequest, tmp_path: Path) -> Installation:
    """A migrated database of each kind, and a directory."""
    dsn = _empty(request.param, request, tmp_path)
    upgrade(dsn)
    return Installation(dsn, _storage("local", request, tmp_path))


def _empty(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if kind == "sqlite":
        path = tmp_path / "ledger.sqlite"
        path.touch()
        return f"sqlite:///{path}"
    new: Callable[[], str] = request.getfixturevalue("new_postgres_database")
    return new()


def _storage(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> LegacyStorage:
    if name == "local":
        root = tmp_path / "objects"
        root.mkdir()
        return LegacyDirectory(root)
    return LegacyBucket(store_named(name, request).new_bucket())
