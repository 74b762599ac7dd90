"""A database that is lost at the worst moments."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import pytest_twisted
from attrs import frozen
from twisted.internet import reactor

from qabel_block.ledger.ledger import Ledger
from qabel_block.ledger.migrate import upgrade
from qabel_block.ledger.postgres.database import PostgresDatabase
from qabel_block.operations.collector import PENDING_SECONDS, Collector
from qabel_block.storage.local.storage import LocalStorage
from qabel_block.util.threads import ThreadPool
from tests.integration.ledger.support import age_garbage
from tests.support.database import query
from tests.support.postgres import PostgresServer, databases_on
from tests.support.server import ServerProcess
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import wait_for
from tests.system.faults.conftest import dsn_through, postgres_address

UPLOADS = 200
CLIENTS = 20
AUTHORIZATION = {"Authorization": "Token T"}
COMMIT = b"COMMIT\0"

Outcome = tuple[str, bytes, str | None]
"""Of an upload: its path, its body, and the ETag if it was answered with 204."""


@frozen
class ServerWithDatabase:
    """A server, and what is behind it."""

    server: ServerProcess
    network: TcpProxy
    dsn: str
    directory: Path

    def client(self) -> httpx.Client:
        return httpx.Client(
            base_url=f"{self.server.url}/api/v0/",
            headers=AUTHORIZATION,
            timeout=60,
        )

    def blobs(self) -> set[str]:
        """Return the keys of all blobs in storage."""
        return {
            str(path.relative_to(self.directory)).replace("~/", "/")
            for path in (self.directory / "p").rglob("*")
            if path.is_file()
        }

    def column(self, sql: str) -> set[str]:
        return {value for (value,) in query(self.dsn, sql)}

    def adds_up(self, all_noted: bool = True) -> None:
        """See that the size is the sum, that no blob is missing, and that the
        ledger knows of each that is too many."""
        ((total,),) = query(self.dsn, "SELECT coalesce(sum(size), 0) FROM objects")
        assert self.client().get("quota").json()["size"] == total
        referenced = self.column("SELECT blob_key FROM objects")
        assert referenced <= self.blobs()
        noted = self.column("SELECT blob_key FROM garbage")
        assert not all_noted or self.blobs() <= referenced | noted


@pytest.fixture
def place(own_postgres: PostgresServer, tmp_path: Path) -> Iterator[ServerWithDatabase]:
    with databases_on(own_postgres.dsn) as new:
        dsn = new()
        upgrade(dsn)
        directory = tmp_path / "objects"
        with TcpProxy(postgres_address(dsn)) as network:
            server = ServerProcess(
                *("--psql-dsn", dsn_through(network, dsn)),
                *("--local-storage", str(directory)),
                *("--dummy-auth", "T", "--dummy-cache"),
            )
            server.start()
            yield ServerWithDatabase(server, network, dsn, directory)
            server.kill()
            assert "Traceback" not in server.log()
        own_postgres.start()


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_restart_during_uploads(
    place: ServerWithDatabase, own_postgres: PostgresServer, mode: str
) -> None:
    """The database is restarted in the middle of 200 uploads: each that was
    answered with 204 is there, each other one whole or not at all."""
    place.client().post("files/p/first", content=b"")
    numbers = itertools.count()
    half_way = threading.Event()

    def upload(_client: int) -> list[Outcome]:
        outcomes: list[Outcome] = []
        with place.client() as client:
            while (number := next(numbers)) < UPLOADS:
                if number == UPLOADS // 2:
                    half_way.set()
                # Overwritten now and then by others.
                path, body = f"{number % 150}", f"{number} ".encode() * number * 20
                answer = client.post(f"files/p/{path}", content=body)
                assert answer.status_code in (204, 503)
                etag = answer.headers["etag"] if answer.status_code == 204 else None
                outcomes.append((path, body, etag))
        return outcomes

    with ThreadPoolExecutor(CLIENTS + 1) as pool:
        uploading = pool.map(upload, range(CLIENTS))
        half_way.wait(60)
        own_postgres.stop(mode)
        own_postgres.start()
        outcomes = list(itertools.chain(*uploading))
    assert len(outcomes) == UPLOADS
    client = place.client()
    wait_for(lambda: client.get("quota").status_code == 200, 10)
    for path in {path for path, _, _ in outcomes}:
        bodies = {body: etag for name, body, etag in outcomes if name == path}
        found = client.get(f"files/p/{path}")
        if found.status_code == 404:
            assert set(bodies.values()) == {None}
        else:
            assert bodies[found.content] in (None, found.headers["etag"])
    # A crash may forget that a blob was noted, which costs its space.
    place.adds_up(all_noted=mode == "fast")


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("arrives", [True, False])
@pytest.mark.parametrize("conditional", [True, False])
async def test_lost_answer_to_a_commit(
    place: ServerWithDatabase, arrives: bool, conditional: bool
) -> None:
    """When the connection breaks after COMMIT was sent, the upload is done once or
    not at all; neither the client nor the collector loses what may have been
    committed."""
    client = place.client()
    before = client.post("files/p/a", content=b"before").headers["etag"]
    headers = {"If-Match": before} if conditional else {}
    # The first one commits the blob's note.
    place.network.cut_once_at(COMMIT, deliver=arrives, after=1)
    answer = client.post("files/p/a", content=b"after it", headers=headers)
    assert answer.status_code == 503
    assert not place.network.waits
    wait_for(lambda: client.get("quota").json()["size"] == (8 if arrives else 6))
    place.adds_up()
    assert len(place.blobs()) == 2
    await _collect_everything(place)
    found = client.get("files/p/a")
    assert found.content == (b"after it" if arrives else b"before")
    assert (found.headers["etag"] == before) == (not arrives)
    assert place.blobs() == place.column("SELECT blob_key FROM objects")
    # The client tries again, as it would.
    again = client.post("files/p/a", content=b"after it", headers=headers)
    assert again.status_code == (412 if arrives and conditional else 204)
    assert client.get("files/p/a").content == b"after it"
    place.adds_up()


@pytest.mark.parametrize("arrives", [True, False])
def test_lost_answer_to_a_deletion(place: ServerWithDatabase, arrives: bool) -> None:
    """A deletion is done once or not at all, and may be repeated."""
    client = place.client()
    client.post("files/p/a", content=b"before")
    place.network.cut_once_at(COMMIT, deliver=arrives)
    assert client.delete("files/p/a").status_code == 503
    assert client.get("files/p/a").status_code == (404 if arrives else 200)
    place.adds_up()
    assert client.delete("files/p/a").status_code == 204
    assert client.get("quota").json()["size"] == 0
    place.adds_up()


async def _collect_everything(place: ServerWithDatabase) -> None:
    """Delete all garbage now, as an hour later."""
    database = PostgresDatabase(reactor, place.dsn)
    threads = ThreadPool(reactor, 1, "test")
    threads.start()
    now = reactor.seconds
    ledger = Ledger(database, lambda: now() + 1)
    storage = LocalStorage(place.directory, threads)
    await storage.bind(await ledger.installation())
    collector = Collector(ledger, storage, reactor)
    age_garbage(place.dsn, PENDING_SECONDS)
    assert (await collector.collect(grace=0)).deleted == 1
    await database.close()
    threads.stop()
