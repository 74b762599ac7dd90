"""PgBouncer before PostgreSQL, in both of its modes that people use."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from psycopg2.extensions import make_dsn, parse_dsn
from twisted.internet import reactor as global_reactor

from qabel_block.ledger.ledger import Ledger
from qabel_block.ledger.migrate import upgrade
from qabel_block.ledger.postgres import connection
from qabel_block.ledger.postgres.database import PostgresDatabase
from qabel_block.ledger.sql import RawStatement
from tests.integration.ledger.support import (
    OTHER,
    OWNER,
    P,
    Q,
    allow,
    at_once,
    name,
    overwrite,
)
from tests.integration.ledger.test_concurrency import sizes_are_sums
from tests.integration.ledger.test_postgres import setting
from tests.support.ports import free_port
from tests.support.postgres import PostgresServer, databases_on
from tests.support.waiting import wait_for

reactor: Any = global_reactor
PROGRAM = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin")

pytestmark = pytest.mark.skipif(not PROGRAM, reason="pgbouncer is not installed")

CONFIGURATION = """\
[databases]
* = host={host} port=5432 user=postgres
[pgbouncer]
unix_socket_dir = {folder}
listen_addr =
listen_port = {port}
auth_type = any
pool_mode = {mode}
default_pool_size = {size}
"""


@pytest.fixture
def dsn(own_postgres: PostgresServer) -> Iterator[str]:
    """A migrated database."""
    with databases_on(own_postgres.dsn) as new:
        dsn = new()
        upgrade(dsn)
        yield dsn


@pytest.fixture(params=["session", "transaction"])
def pooler(
    request: pytest.FixtureRequest, own_postgres: PostgresServer, dsn: str
) -> Iterator[str]:
    """The database behind PgBouncer, with fewer sessions than it has clients where
    that is possible."""
    user = own_postgres.system_user
    folder = Path(tempfile.mkdtemp(prefix="pgbouncer-"))
    parts = parse_dsn(dsn)
    port = free_port()
    file = folder / "pgbouncer.ini"
    file.write_text(
        CONFIGURATION.format(
            host=parts["host"],
            folder=folder,
            port=port,
            mode=request.param,
            size=3 if request.param == "transaction" else 20,
        )
    )
    if user is not None:
        shutil.chown(folder, user)
    assert PROGRAM is not None
    process = subprocess.Popen(
        [PROGRAM, "-q", str(file)],
        user=user,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for((folder / f".s.PGSQL.{port}").exists)
        yield str(make_dsn(dsn, host=str(folder), port=str(port)))
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(folder)


@pytest_twisted.ensureDeferred
async def test_many_changes(pooler: str, dsn: str) -> None:
    """Uploads and deletions of two nodes at once are made, and sizes are exact."""
    databases = [PostgresDatabase(reactor, pooler) for _ in range(2)]
    nodes = [Ledger(database, reactor.seconds) for database in databases]
    await nodes[0].create_prefix(OWNER, P)
    await nodes[0].create_prefix(OTHER, Q)
    for _ in range(3):
        uploads = [
            overwrite(nodes[n % 2], name(f"{n % 7}", (P, Q)[n % 3 == 0]), n)
            for n in range(60)
        ]
        looks = [node.storage_used(OWNER) for node in nodes * 5]
        deletions = [nodes[n % 2].delete(name(f"{n}"), allow) for n in range(3)]
        outcomes = await at_once([*uploads, *looks, *deletions])
        failed = [one for one in outcomes if isinstance(one, Exception)]
        assert failed == []
    assert await sizes_are_sums(dsn)
    for database in databases:
        await database.check()
        await database.close()


@pytest_twisted.ensureDeferred
async def test_settings(pooler: str) -> None:
    """Each transaction has the settings that a session has without a pooler."""
    database = PostgresDatabase(reactor, pooler, deadline=10)
    assert await setting(database, "statement_timeout") == "9s"

    async def work(transaction: Any) -> str:
        show = "SELECT current_setting('synchronous_commit')"
        return str((await transaction.fetch(RawStatement(show)))[0][0])

    assert await database.transact(work) == "on"
    assert await database.transact(work, durable=False) == "off"
    assert await database.transact(work) == "on"
    await database.close()


@pytest_twisted.ensureDeferred
async def test_unnoticed_pooler(
    pooler: str, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pooler that could not be told from the server is noticed by what it does to
    prepared statements, and no operation fails."""
    monkeypatch.setattr(connection, "_has_pooler", lambda _connection, _rows: False)
    databases = [PostgresDatabase(reactor, pooler) for _ in range(2)]
    nodes = [Ledger(database, reactor.seconds) for database in databases]
    await nodes[0].create_prefix(OWNER, P)
    outcomes = await at_once(
        overwrite(nodes[n % 2], name(f"{n % 7}"), n) for n in range(60)
    )
    assert [one for one in outcomes if isinstance(one, Exception)] == []
    assert await sizes_are_sums(dsn)
    for database in databases:
        await database.close()
