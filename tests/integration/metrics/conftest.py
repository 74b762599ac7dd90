"""Servers whose metrics are looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from qabel_block.ledger.migrate import upgrade
from tests.support.accounting import AccountingDouble
from tests.support.server import ServerProcess
from tests.support.settings import Setting, StoredFiles
from tests.support.world import LARGE, World

TOKEN = "token-of-the-only-user"


@pytest.fixture(scope="module")
def accounting() -> Iterator[AccountingDouble]:
    with AccountingDouble() as double:
        yield double


@pytest.fixture(scope="module")
def setting(
    new_postgres_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Setting:
    """A migrated database and a directory."""
    dsn = new_postgres_database()
    upgrade(dsn)
    directory = tmp_path_factory.mktemp("objects")
    options = ("--local-storage", str(directory))
    return Setting(dsn, options, {}, StoredFiles(directory))


@pytest.fixture(scope="module")
def options(
    setting: Setting, accounting: AccountingDouble, redis_address: tuple[str, int]
) -> tuple[str, ...]:
    """The options of a server whose metrics are served."""
    host, port = redis_address
    return (
        *("--psql-dsn", setting.dsn, *setting.options),
        *("--redis-host", host, "--redis-port", str(port)),
        *("--accounting-host", accounting.url, "--apisecret", accounting.secret),
        *("--max-body-size", "1000000", "--prometheus-port", "0"),
    )


@pytest.fixture(scope="module")
def world(
    setting: Setting, accounting: AccountingDouble, options: tuple[str, ...]
) -> Iterator[World]:
    """A running server."""
    with ServerProcess(*options) as server:
        yield World(server, accounting, setting)


@pytest.fixture
def server(
    options: tuple[str, ...], accounting: AccountingDouble, tmp_path: Path
) -> Iterator[ServerProcess]:
    """Two workers, and one user with a token. Temporary files are kept apart
    from those of others."""
    accounting.add_user(TOKEN, 1, block_quota=LARGE)
    environment = {"TMPDIR": str(tmp_path)}
    with ServerProcess(*options, "--processes", "2", environment=environment) as server:
        yield server
