"""No secret is to be found anywhere afterwards."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from uuid import uuid4

import httpx
import pytest
import redis
from attrs import frozen
from psycopg2.extensions import make_dsn
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.support.accounting import AccountingDouble
from tests.support.metrics import metrics_url
from tests.support.s3 import Bucket
from tests.support.server import ServerProcess
from tests.support.waiting import wait_for
from tests.support.world import User, World
from tests.system.faults.conftest import Networks

PASSWORD = "password-of-the-database"
SECRET_KEY = "secret-key-of-the-store"


@frozen
class VerboseServer:
    """A server that tells as much as it can, and all that it must not tell."""

    world: World
    secrets: list[str]

    def token(self) -> str:
        """Return a new one."""
        token = f"token-{uuid4().hex}"
        self.secrets.append(token)
        return token

    def user(self) -> User:
        user = self.world.user()
        self.secrets.append(user.token)
        return user


@pytest.fixture
def place(
    world: World,
    options: tuple[str, ...],
    networks: Networks,
    accounting: AccountingDouble,
    bucket: Bucket,
) -> Iterator[VerboseServer]:
    """A server with ``--debug``, on networks that may fail."""
    dsn = str(make_dsn(options[options.index("--psql-dsn") + 1], password=PASSWORD))
    environment = {
        **bucket.store.environment,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "PYTHONFAULTHANDLER": "1",
    }
    server = ServerProcess(
        *options,
        *("--psql-dsn", dsn, "--debug", "--prometheus-port", "0"),
        environment=environment,
    )
    with server:
        mine = World(server, accounting, world.setting)
        yield VerboseServer(mine, [accounting.secret, PASSWORD, SECRET_KEY])
    networks.recover()


def everything(place: VerboseServer, networks: Networks) -> list[str]:
    """Do what may give a secret away; return what was answered."""
    user, answers = place.user(), []

    def ask(method: str, path: str, token: str, **options: object) -> None:
        headers = {"Authorization": f"Token {token}", "Accept": "*/*"}
        with suppress(httpx.TransportError):
            answer = client.request(method, path, headers=headers, **options)  # type: ignore[arg-type]
            answers.append(f"{answer.status_code} {answer.headers} {answer.text}")

    with httpx.Client(base_url=user.server.url, timeout=60) as client:
        for token in (user.token, place.token()):
            ask("GET", "/api/v0/quota", token)
            ask("POST", "/api/v0/prefix", token)
            ask("POST", user.url("a"), token, content=b"x")
            ask("GET", user.url("a"), token)
            ask("DELETE", user.url("none"), token)
            ask("PATCH", user.url("a"), token)
            ask("GET", "/nothing", token)
            ask("POST", user.url("a"), token, content=b"x" * 100)
        for spoilt in ({"status": 500}, {"body": b"{"}, {"hang_up": True}):
            for name, value in spoilt.items():
                ordinary = getattr(place.world.accounting, name)
                setattr(place.world.accounting, name, value)
                ask("GET", "/api/v0/quota", place.token())
                setattr(place.world.accounting, name, ordinary)
        for network in networks.all():
            network.refuse()
            ask("POST", user.url("a"), user.token, content=b"x")
            ask("GET", "/api/v0/quota", place.token())
            network.recover()
        for token in (user.token, place.token()):
            with suppress(InvalidStatus):
                connect(
                    f"{user.server.url.replace('http', 'ws')}/api/v0/websocket/x",
                    additional_headers={"Authorization": f"Token {token}"},
                )
    for head in ("GET / HTTP/1.1\r\n", "GET /api/v0/quota HTTP/1.1\r\nHost: x\r\n"):
        token = place.token()
        with user.wire() as wire:
            wire.send(f"{head}Authorization: Token {token}\r\nbad\r\n\r\n".encode())
            answers.append(str(wire.answer()))
    answers.append(user.client.get("/readyz").text)
    return answers


def test_no_secret_is_told(
    place: VerboseServer, networks: Networks, redis_address: tuple[str, int]
) -> None:
    """Whatever happens to requests, no token, and no secret of the server's own, is
    in an answer, in the log with --debug, in Redis, or in what a crash leaves."""
    answers = everything(place, networks)
    user = place.user()
    wait_for(lambda: user.client.get("/readyz").status_code == 200)
    assert user.quota()
    host, port = redis_address
    client = redis.Redis(host, port, decode_responses=True)
    stored = [f"{key} {client.get(key)!r}" for key in client.scan_iter("qabel-block:*")]
    assert stored
    answers.append(httpx.get(metrics_url(place.world.process)).text)
    os.kill(place.world.process.pid, signal.SIGABRT)
    place.world.process.wait()
    log = place.world.process.log()
    assert "Fatal Python error" in log
    assert "503 for" in log
    for text in (*answers, *stored, log):
        for secret in place.secrets:
            assert secret not in text
