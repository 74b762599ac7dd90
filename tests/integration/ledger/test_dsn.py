"""What an operator may write to name a database."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as global_reactor

from qabel_block.errors import Unavailable
from qabel_block.ledger.postgres.dsn import (
    postgres_parameters,
    sqlite_file,
    with_addresses,
)

reactor: Any = global_reactor


@pytest.mark.parametrize(
    ("dsn", "path"),
    [
        ("sqlite:///ledger.sqlite", "ledger.sqlite"),
        ("sqlite:////var/lib/100%?/a b.sqlite", "/var/lib/100%?/a b.sqlite"),
        ("postgresql://localhost/sqlite", None),
        ("dbname=sqlite", None),
    ],
)
def test_sqlite(dsn: str, path: str | None) -> None:
    """``sqlite:///FILE`` names a file as it is; everything else is PostgreSQL."""
    assert sqlite_file(dsn) == path


@pytest.mark.parametrize("dsn", ["sqlite://", "sqlite:///", "sqlite://ledger.sqlite"])
def test_sqlite_without_file(dsn: str) -> None:
    """A SQLite DSN without a file is refused with the right way to write it."""
    with pytest.raises(ValueError, match="sqlite:///FILE"):
        sqlite_file(dsn)


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://u:p@h:5433/d",
        "postgres://u:p@h:5433/d",
        "host=h port=5433 user=u password=p dbname=d",
    ],
)
def test_postgres(dsn: str) -> None:
    """URLs and connection strings of libpq mean the same."""
    assert postgres_parameters(dsn) == {
        "host": "h",
        "port": "5433",
        "user": "u",
        "password": "p",
        "dbname": "d",
    }


@pytest.mark.parametrize("port", ["0", "65536", "http", "1,x", "²"])
def test_ports(port: str) -> None:
    """What isn't a port is refused before anything is tried."""
    with pytest.raises(ValueError, match="port"):
        postgres_parameters(f"host=h port={port}")


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("dsn", "host", "addresses", "port"),
    [
        ("host=127.0.0.1 port=7", "127.0.0.1", "127.0.0.1", "7"),
        ("host=::1", "::1", "::1", ""),
        (
            "host=127.0.0.2,/run,::1 port=5",
            "127.0.0.2,/run,::1",
            "127.0.0.2,,::1",
            "5,5,5",
        ),
        ("host=127.0.0.2,::1 port=5,", "127.0.0.2,::1", "127.0.0.2,::1", "5,"),
        ("host=nowhere.invalid,::1 port=5,6", "::1", "::1", "6"),
    ],
)
async def test_addresses(dsn: str, host: str, addresses: str, port: str) -> None:
    """Every address of every host is put beside the host's name and port; sockets
    and hosts without an address get none."""
    found = await with_addresses(reactor, postgres_parameters(dsn))
    assert found["host"] == host
    assert found["hostaddr"] == addresses
    assert found["port"] == port


@pytest_twisted.ensureDeferred
async def test_localhost() -> None:
    """A host with several addresses is named once for each."""
    parameters = postgres_parameters("host=localhost port=5")
    found = await with_addresses(reactor, parameters)
    addresses = found["hostaddr"].split(",")
    assert "127.0.0.1" in addresses
    assert found["host"].split(",") == ["localhost"] * len(addresses)
    assert found["port"].split(",") == ["5"] * len(addresses)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "dsn",
    [
        "",
        "dbname=d",
        "postgresql://",
        "host=/run/postgresql port=5",
        "host=nowhere.invalid hostaddr=127.0.0.1",
        "host=a,b,c port=1,2",
    ],
)
async def test_nothing_to_look_up(dsn: str) -> None:
    """Sockets and addresses that are given are left to libpq, and so are mistakes."""
    parameters = postgres_parameters(dsn)
    assert await with_addresses(reactor, parameters) == parameters


@pytest_twisted.ensureDeferred
async def test_unknown_host() -> None:
    """A name without an address is unavailable."""
    parameters = postgres_parameters("host=nowhere.invalid")
    with pytest.raises(Unavailable, match="resolved"):
        await with_addresses(reactor, parameters)
