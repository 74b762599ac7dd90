"""No token of a built-in account is to be found anywhere afterwards."""

from __future__ import annotations

import os
import signal
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import psycopg2
import pytest
import redis
from attrs import field, frozen
from psycopg2 import sql
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from qabel_block.accounts.tokens import new_token
from qabel_block.http.websocket.handshake import SUBPROTOCOL
from qabel_block.ledger.migrate import upgrade
from tests.support.metrics import metrics_url
from tests.support.server import ServerProcess
from tests.support.tools import Ended, run_tool
from tests.support.waiting import wait_for
from tests.system.faults.conftest import Networks, dsn_through


@frozen
class Installation:
    """A server that tells as much as it can, and the commands beside it.

    :ivar tokens: all that anybody has had or tried.
    :ivar told: what was answered and printed.
    """

    server: ServerProcess
    places: tuple[str, ...]
    dsn: str
    tokens: list[str]
    told: list[str] = field(factory=list)

    def run(self, *words: str) -> Ended:
        """Run a command; what it prints on stdout may be a token."""
        ended = run_tool(*words[:2], *self.places, *words[2:])
        self.told.append(ended.err)
        return ended

    def token(self, *words: str) -> str:
        """Run a command that prints a token."""
        ended = self.run(*words)
        assert ended.status == 0, ended.err
        return self.noted(ended.out.strip())

    def noted(self, token: str) -> str:
        """Add a token to those that must not be found."""
        assert token.startswith("qb_")
        self.tokens.append(token)
        return token

    def ask(
        self, method: str, path: str, authorization: str, content: bytes = b""
    ) -> int:
        """Send a request; return its status, or 0 if there was no answer."""
        # Loopback is no address whose failures are counted.
        headers = {"Authorization": authorization, "X-Forwarded-For": "192.0.2.7"}
        with suppress(httpx.TransportError):
            answer = httpx.request(
                method,
                self.server.url + path,
                headers=headers,
                content=content,
                timeout=60,
            )
            self.told.append(f"{answer.status_code} {answer.headers} {answer.text}")
            return answer.status_code
        return 0


@pytest.fixture
def installation(
    networks: Networks,
    redis_address: tuple[str, int],
    new_postgres_database: Callable[[], str],
    tmp_path: Path,
) -> Iterator[Installation]:
    """A server with ``--debug`` and a first user, on networks that may fail."""
    dsn = new_postgres_database()
    upgrade(dsn)
    places = (
        *("--psql-dsn", dsn_through(networks.database, dsn)),
        *("--local-storage", str(tmp_path)),
    )
    first = new_token()
    server = ServerProcess(
        *places,
        *("--redis-host", "127.0.0.1", "--redis-port", str(networks.redis.port)),
        *("--accounts", "builtin", "--debug", "--trusted-proxy", "127.0.0.1"),
        *("--prometheus-port", "0", "--metrics-per-user"),
        environment={
            "QABEL_BLOCK_FIRST_USER": "first",
            "QABEL_BLOCK_FIRST_TOKEN": first,
            "PYTHONFAULTHANDLER": "1",
        },
    )
    with server:
        yield Installation(server, places, dsn, [first])
    networks.recover()


def _ways(token: str) -> tuple[str, str]:
    """Return both headers that a token is sent in."""
    basic = b64encode(f"first:{token}".encode()).decode()
    return f"Token {token}", f"Basic {basic}"


def _use(one: Installation, token: str, prefix: str) -> None:
    """Ask for whatever a token may be asked for with."""
    url = f"/api/v0/files/{prefix}/a"
    plain, basic = _ways(token)
    one.ask("GET", "/api/v0/quota/", plain)
    one.ask("POST", "/api/v0/prefix/", plain)
    one.ask("POST", url, plain, b"1")
    one.ask("GET", url, plain)
    one.ask("DELETE", f"{url}/none", plain)
    one.ask("PATCH", url, plain)
    one.ask("GET", "/nothing", plain)
    one.ask("GET", "/api/v0/quota/", f"Bearer {token}")
    one.ask("POST", "/restic/r/?create=true", basic)
    one.ask("GET", "/restic/r/config", basic)
    one.ask("POST", "/restic/r/data/0", basic, b"1")
    socket = f"{one.server.url.replace('http', 'ws')}/api/v0/websocket/{prefix}"
    headers = {"Authorization": plain}
    with suppress(InvalidStatus), connect(socket, additional_headers=headers):
        pass
    offered = [Subprotocol(SUBPROTOCOL), Subprotocol(f"bearer.{token}")]
    with suppress(InvalidStatus), connect(socket, subprotocols=offered):
        pass
    with one.server.wire() as wire:
        head = f"GET /api/v0/quota/ HTTP/1.1\r\nHost: x\r\nAuthorization: {plain}\r\n"
        wire.send(f"{head}bad\r\n\r\n".encode())
        one.told.append(str(wire.answer()))


def _everything(one: Installation, networks: Networks) -> None:
    """Do what may give a token away."""
    (first,) = one.tokens
    prefix = httpx.post(
        f"{one.server.url}/api/v0/prefix/", headers={"Authorization": f"Token {first}"}
    ).json()["prefix"]
    one.token("user", "add", "second", "--quota", "0")
    one.token("token", "add", "first", "--append-only", "--label", "laptop")
    one.token("token", "add", "first", "--read-only", "--expires", "90d")
    one.token("token", "add", "first", "--expires", "2020-01-01")
    one.token("token", "add", "first")
    assert one.run("token", "revoke", "first", "5").status == 0
    one.token("user", "add", "third")
    assert one.run("user", "disable", "third").status == 0
    one.noted(new_token())
    for token in tuple(one.tokens):
        _use(one, token, prefix)
    for words in (
        ("user", "list"),
        ("user", "show", "first"),
        ("token", "list", "first"),
    ):
        ended = one.run(*words, "--json")
        assert ended.status == 0
        one.told.append(ended.out)
    for network in (networks.database, networks.redis):
        network.refuse()
        plain, basic = _ways(one.noted(new_token()))
        one.ask("GET", "/api/v0/quota/", plain)
        one.ask("POST", "/restic/r/?create=true", basic)
        one.ask("POST", f"/api/v0/files/{prefix}/a", f"Token {first}", b"1")
        network.recover()
    _execute(one.dsn, "ALTER TABLE tokens RENAME TO missing")
    assert one.ask("GET", "/api/v0/quota/", f"Token {one.noted(new_token())}") >= 500
    one.run("token", "add", "first")
    _execute(one.dsn, "ALTER TABLE missing RENAME TO tokens")
    unknown = [one.noted(new_token()) for _ in range(40)]
    assert 429 in [one.ask("GET", "/api/v0/quota/", f"Token {t}") for t in unknown]


def _execute(dsn: str, statement: str) -> None:
    connection = psycopg2.connect(dsn)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()


def _rows(dsn: str) -> list[str]:
    """Return each row of each table as text."""
    connection = psycopg2.connect(dsn)
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT table_schema, table_name FROM information_schema.tables"
                " WHERE table_schema NOT IN ('pg_catalog', 'information_schema')"
            )
            found = []
            for names in cursor.fetchall():
                table = sql.Identifier(*names)
                query = sql.SQL("SELECT one::text FROM {} AS one").format(table)
                cursor.execute(query)
                found += [text for (text,) in cursor.fetchall()]
            return found
    finally:
        connection.close()


def test_no_token_is_told(
    installation: Installation, networks: Networks, redis_address: tuple[str, int]
) -> None:
    """Whatever happens to requests and commands, no token is in an answer, in what a
    command says, in the log with --debug, in a metric, in a table, in Redis, or in
    what a crash leaves; nor are the credentials that restic sends it in."""
    server = installation.server
    _everything(installation, networks)
    wait_for(lambda: httpx.get(f"{server.url}/readyz").status_code == 200)
    rows = _rows(installation.dsn)
    assert any("laptop" in row for row in rows)
    client = redis.Redis(*redis_address)
    stored = [f"{key!r} {client.dump(key)!r}" for key in client.scan_iter()]
    metrics = httpx.get(metrics_url(server)).text
    os.kill(server.pid, signal.SIGABRT)
    server.wait()
    log = server.log()
    assert "Fatal Python error" in log
    assert "503 for" in log
    for text in (*installation.told, *rows, *stored, metrics, log):
        for token in installation.tokens:
            assert token.removeprefix("qb_") not in text
            assert _ways(token)[1].removeprefix("Basic ") not in text
