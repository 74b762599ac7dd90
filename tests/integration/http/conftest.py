"""A server on each database and storage, with everything real around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from qabel_block.ledger.migrate import upgrade
from tests.support.accounting import AccountingDouble
from tests.support.s3 import store_named
from tests.support.server import ServerProcess
from tests.support.settings import (
    SETTINGS,
    WITHOUT_STORAGE,
    Setting,
    StoredFiles,
    StoredObjects,
)
from tests.support.world import World


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Choose what each scenario runs on."""
    if "setting" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("without_storage")
        settings = SETTINGS if marker is None else WITHOUT_STORAGE
        metafunc.parametrize("setting", settings, indirect=True, scope="session")


@pytest.fixture(scope="session")
def setting(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Setting:
    """A migrated database and a storage."""
    return new_setting(request.param, request, tmp_path_factory)


def new_setting(
    name: str,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Setting:
    """Make a migrated database and a storage.

    :param name: the kinds of both.
    """
    ledger, storage = name.split(", ")
    if ledger == "sqlite":
        dsn = f"sqlite:///{tmp_path_factory.mktemp('ledger') / 'ledger.sqlite'}"
    else:
        new: Callable[[], str] = request.getfixturevalue("new_postgres_database")
        dsn = new()
    upgrade(dsn)
    if storage == "local":
        directory = tmp_path_factory.mktemp("objects")
        options = ("--local-storage", str(directory))
        return Setting(dsn, options, {}, StoredFiles(directory))
    bucket = store_named(storage, request).new_bucket()
    environment = bucket.store.environment
    return Setting(dsn, bucket.options(), environment, StoredObjects(bucket))


@pytest.fixture(scope="session")
def accounting() -> Iterator[AccountingDouble]:
    with AccountingDouble() as double:
        yield double


@pytest.fixture(scope="session")
def server_options(
    setting: Setting, accounting: AccountingDouble, redis_address: tuple[str, int]
) -> tuple[str, ...]:
    """The options of all processes that share one database and storage.

    With SQLite they are measured, which must not make a difference.
    """
    host, port = redis_address
    measured = ("--prometheus-port", "0") if setting.dsn.startswith("sqlite") else ()
    return (
        *("--psql-dsn", setting.dsn),
        *setting.options,
        *("--redis-host", host, "--redis-port", str(port)),
        *("--accounting-host", accounting.url, "--apisecret", accounting.secret),
        *measured,
    )


@pytest.fixture(scope="session")
def world(
    setting: Setting, accounting: AccountingDouble, server_options: tuple[str, ...]
) -> Iterator[World]:
    """A running server; tests share it, each with users of its own."""
    with ServerProcess(*server_options, environment=setting.environment) as server:
        yield World(server, accounting, setting)


@pytest.fixture(scope="session")
def second_server(
    setting: Setting, server_options: tuple[str, ...]
) -> Iterator[ServerProcess]:
    """Another process beside the first."""
    with ServerProcess(*server_options, environment=setting.environment) as server:
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
