"""A server that reaches everything it depends on through networks that fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest
from attrs import frozen
from psycopg2.extensions import make_dsn, parse_dsn

from qabel_block.ledger.migrate import upgrade
from tests.support.accounting import AccountingDouble
from tests.support.s3 import NAMED, Bucket, store_named
from tests.support.server import ServerProcess
from tests.support.settings import Setting, StoredObjects
from tests.support.tcp_proxy import Address, TcpProxy
from tests.support.world import World


@frozen
class Networks:
    """What is between the server and each of its dependencies."""

    database: TcpProxy
    redis: TcpProxy
    accounting: TcpProxy
    storage: TcpProxy

    def all(self) -> tuple[TcpProxy, ...]:
        return (self.database, self.redis, self.accounting, self.storage)

    def recover(self) -> None:
        for network in self.all():
            network.recover()


def postgres_address(dsn: str) -> Address:
    """Return where a PostgreSQL listens."""
    parameters = parse_dsn(dsn)
    host, port = parameters["host"], parameters.get("port", "5432")
    return f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, int(port))


def dsn_through(network: TcpProxy, dsn: str) -> str:
    """Return how to reach a PostgreSQL through a network."""
    return str(
        make_dsn(
            dsn,
            host="127.0.0.1",
            port=str(network.port),
            sslmode="disable",
            gssencmode="disable",
        )
    )


def address_of(url: str) -> tuple[str, int]:
    """Return host and port of a URL."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    return parts.hostname, parts.port


@pytest.fixture(scope="session")
def accounting() -> Iterator[AccountingDouble]:
    with AccountingDouble() as double:
        yield double


@pytest.fixture(scope="session")
def bucket(request: pytest.FixtureRequest) -> Bucket:
    return store_named("named" if NAMED else "moto", request).new_bucket()


@pytest.fixture(scope="session")
def database(new_postgres_database: Callable[[], str]) -> str:
    """A migrated database."""
    dsn = new_postgres_database()
    upgrade(dsn)
    return dsn


@pytest.fixture(scope="session")
def networks(
    database: str,
    redis_address: tuple[str, int],
    accounting: AccountingDouble,
    bucket: Bucket,
) -> Iterator[Networks]:
    with ExitStack() as stack:
        yield Networks(
            *(
                stack.enter_context(TcpProxy(address))
                for address in (
                    postgres_address(database),
                    redis_address,
                    address_of(accounting.url),
                    address_of(bucket.store.endpoint_url),
                )
            )
        )


@pytest.fixture(scope="session")
def options(
    networks: Networks, database: str, accounting: AccountingDouble, bucket: Bucket
) -> tuple[str, ...]:
    """The options of a server behind these networks."""
    s3 = f"http://127.0.0.1:{networks.storage.port}"
    return (
        *("--psql-dsn", dsn_through(networks.database, database)),
        *("--redis-host", "127.0.0.1", "--redis-port", str(networks.redis.port)),
        *("--accounting-host", f"http://127.0.0.1:{networks.accounting.port}"),
        *("--apisecret", accounting.secret),
        *("--s3-bucket", bucket.name, "--s3-endpoint-url", s3),
    )


@pytest.fixture(scope="session")
def world(
    networks: Networks,
    options: tuple[str, ...],
    database: str,
    accounting: AccountingDouble,
    bucket: Bucket,
) -> Iterator[World]:
    """The server, running; tests share it and leave it well."""
    environment = bucket.store.environment
    setting = Setting(database, options, environment, StoredObjects(bucket))
    with ServerProcess(*options, environment=environment) as server:
        yield World(server, accounting, setting)
