"""A server in memory for each scenario."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from qabel_block.ledger.migrate import upgrade
from tests.support.accounting import AccountingDouble
from tests.support.memory import MemoryServer, no_threads
from tests.support.settings import Setting, StoredFiles
from tests.support.world import World


@pytest.fixture(scope="session")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file."""
    file = tmp_path_factory.mktemp("ledger") / "ledger.sqlite"
    upgrade(f"sqlite:///{file}")
    return file


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory, on a file system in memory where there is room on one: syncing to
    a disk is not what these scenarios are about."""
    with tempfile.TemporaryDirectory(prefix="qabel-block-", dir=_fast()) as name:
        yield Path(name)


def _fast() -> Path | None:
    directory = Path("/dev/shm")
    if directory.is_dir() and shutil.disk_usage(directory).free > 2**30:
        return directory
    return None


@pytest.fixture
def world(home: Path, ledger: Path) -> Iterator[World]:
    """A running server."""
    accounting = AccountingDouble()
    with no_threads():
        server = MemoryServer(home, ledger, accounting)
        server.start()
        stored = StoredFiles(server.objects)
        yield World(server, accounting, Setting(server.dsn, (), {}, stored))
        server.stop()
