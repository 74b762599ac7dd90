"""PostgreSQL whose primary changes, or has no room for more connections."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest
import pytest_twisted
from psycopg2.extensions import make_dsn
from twisted.internet import reactor as global_reactor

from qabel_block.errors import Unavailable
from qabel_block.ledger.ledger import Ledger
from qabel_block.ledger.migrate import upgrade
from qabel_block.ledger.postgres.database import PostgresDatabase
from tests.integration.ledger.proxy import Proxy
from tests.integration.ledger.support import OWNER, P, at_once, change, name, upload
from tests.integration.ledger.test_postgres import backends, sql
from tests.support.postgres import PostgresServer
from tests.support.replication import ReplicaServer

reactor: Any = global_reactor


@pytest.fixture
def pair(own_postgres: PostgresServer) -> Iterator[tuple[ReplicaServer, ReplicaServer]]:
    """A primary with a ledger, and its standby."""
    with ReplicaServer(own_postgres) as primary, ReplicaServer(own_postgres) as standby:
        primary.copy(own_postgres.dsn, standby=False)
        upgrade(primary.dsn)
        standby.copy(primary.dsn, standby=True)
        yield primary, standby


@pytest_twisted.ensureDeferred
async def test_both_directions(pair: tuple[ReplicaServer, ReplicaServer]) -> None:
    """A ledger that knows both servers goes on with the one that is promoted, there and
    back again, without a restart."""
    first, second = pair
    dsn = make_dsn(
        host=f"{first.folder},{second.folder}",
        user="postgres",
        dbname="postgres",
        target_session_attrs="read-write",
    )
    database = PostgresDatabase(reactor, dsn)
    ledger = Ledger(database, reactor.seconds)
    await ledger.create_prefix(OWNER, P)
    await database.check()
    first.stop("immediate")
    with pytest.raises(Unavailable):  # the other is a standby
        await ledger.create_prefix(OWNER, "too-early")
    second.promote()
    await database.check()
    await upload(ledger, name("a"))
    first.copy(second.dsn, standby=True)
    second.stop("immediate")
    first.promote()
    await database.check()
    await upload(ledger, name("b"))
    assert await ledger.storage_used(OWNER) == 20
    await database.close()


@pytest_twisted.ensureDeferred
async def test_sessions_on_a_standby(
    pair: tuple[ReplicaServer, ReplicaServer],
) -> None:
    """A standby can be read but is not ready; as soon as the name leads to the primary,
    changes go there, though sessions on the standby are open still."""
    primary, standby = pair
    proxy = Proxy(standby.socket).start()
    address = {"host": "localhost", "port": str(proxy.port), "sslmode": "disable"}
    dsn = make_dsn(primary.dsn, gssencmode="disable", **address)
    database = PostgresDatabase(reactor, dsn, connections=4)
    ledger = Ledger(database, reactor.seconds)
    await at_once(database.fetch(sql("SELECT pg_sleep(0.05)")) for _ in range(4))
    assert len(backends(standby.dsn)) == 4
    for _ in range(2):
        with pytest.raises(Unavailable, match="read-only"):
            await ledger.create_prefix(OWNER, P)
        with pytest.raises(Unavailable, match="read-only \\(a standby\\?\\)"):
            await database.check()
    assert await ledger.storage_used(OWNER) == 0
    proxy.socket = primary.socket
    await ledger.create_prefix(OWNER, P)
    await at_once(upload(ledger, name(f"{number}")) for number in range(8))
    assert await ledger.storage_used(OWNER) == 80
    await database.check()
    while backends(standby.dsn):
        await ledger.storage_used(OWNER)
    await database.close()
    await proxy.stop()


@pytest_twisted.ensureDeferred
async def test_no_room_for_more_connections(own_postgres: PostgresServer) -> None:
    """Where the server allows fewer connections than we want, operations take turns
    with those that there are."""
    change(
        own_postgres.dsn,
        "CREATE ROLE limited LOGIN CONNECTION LIMIT 2",
    )
    dsn = make_dsn(own_postgres.dsn, user="limited")
    try:
        database = PostgresDatabase(reactor, dsn)
        for _ in range(3):
            answers = await at_once(
                database.fetch(sql("SELECT pg_sleep(0.01)::text")) for _ in range(40)
            )
            assert answers == [[("",)]] * 40
        assert len(backends(own_postgres.dsn)) == 2
        await database.close()
        while backends(own_postgres.dsn):
            pass
        taken = [psycopg2.connect(dsn) for _ in range(2)]
        full = PostgresDatabase(reactor, dsn)
        outcomes = await at_once(full.fetch(sql("SELECT 1")) for _ in range(10))
        assert all(isinstance(outcome, Unavailable) for outcome in outcomes)
        for connection in taken:
            connection.close()
        await full.close()
    finally:
        while backends(own_postgres.dsn):
            pass
        change(own_postgres.dsn, "DROP ROLE limited")
