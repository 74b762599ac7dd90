"""A server on each database, with everything real around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from qabel_block.ledger.migrate import upgrade
from tests.http.world import World
from tests.support.accounting import AccountingDouble
from tests.support.server import ServerProcess


@pytest.fixture(scope="session", params=["postgresql", "sqlite"])
def ledger_dsn(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """A migrated database of each kind."""
    if request.param == "sqlite":
        dsn = f"sqlite:///{tmp_path_factory.mktemp('ledger') / 'ledger.sqlite'}"
    else:
        new: Callable[[], str] = request.getfixturevalue("new_postgres_database")
        dsn = new()
    upgrade(dsn)
    return dsn


@pytest.fixture(scope="session")
def accounting() -> Iterator[AccountingDouble]:
    with AccountingDouble() as double:
        yield double


@pytest.fixture(scope="session")
def server_options(
    ledger_dsn: str,
    accounting: AccountingDouble,
    redis_address: tuple[str, int],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, ...]:
    """The options of all processes that share one database and storage."""
    host, port = redis_address
    return (
        *("--psql-dsn", ledger_dsn),
        *("--local-storage", str(tmp_path_factory.mktemp("objects"))),
        *("--redis-host", host, "--redis-port", str(port)),
        *("--accounting-host", accounting.url, "--apisecret", accounting.secret),
    )


@pytest.fixture(scope="session")
def world(
    ledger_dsn: str, accounting: AccountingDouble, server_options: tuple[str, ...]
) -> Iterator[World]:
    """A running server; tests share it, each with users of its own."""
    with ServerProcess(*server_options) as server:
        storage = server_options[server_options.index("--local-storage") + 1]
        yield World(server, accounting, ledger_dsn, Path(storage))


@pytest.fixture(scope="session")
def second_server(server_options: tuple[str, ...]) -> Iterator[ServerProcess]:
    """Another process beside the first."""
    with ServerProcess(*server_options) as server:
        yield server


@pytest.fixture(scope="session")
def dummy_server(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ServerProcess]:
    """A server as the README starts it."""
    home = tmp_path_factory.mktemp("standalone")
    options = ("--standalone", str(home), "--dummy-auth", "MAGICFARYDUST")
    with ServerProcess(*options) as server:
        yield server
