"""After a kill -9 of the server under any load, `verify` finds nothing (DESIGN)."""

from __future__ import annotations

import http.client
import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cli.conftest import STORED, Installation
from tests.integration.cli.server import url
from tests.integration.ledger.support import change
from tests.support.disturbances import Disturbances
from tests.support.faketime import WallClock
from tests.support.server import ServerProcess

KILLS = int(os.environ.get("QABEL_BLOCK_TEST_KILLS", "2"))
"""How often the server is killed; half as often on S3."""

CLIENTS = 8
PATHS = 6
SIZES = (0, 100, 70_000, 6_000_000)
"""The last takes several parts on S3."""

AUTH = {"Authorization": "Token T"}


def _requests(
    chance: random.Random,
) -> Iterator[tuple[str, str, bytes, dict[str, str]]]:
    """Return uploads, overwrites, conditional ones, deletions and downloads."""
    while True:
        kind = chance.choice(("POST", "POST", "POST", "GET", "DELETE", "IF-MATCH"))
        where = url("p", f"blocks/{chance.randrange(PATHS)}")
        body = chance.randbytes(chance.choices(SIZES, (2, 10, 5, 1))[0])
        if kind == "IF-MATCH":
            yield "POST", where, body, {"If-Match": '"1"'}
        else:
            yield kind, where, body if kind == "POST" else b"", {}


def _client(port: int, seed: int, answered: threading.Semaphore) -> None:
    """Send requests until the server is gone."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for method, where, body, headers in _requests(random.Random(seed)):
        try:
            connection.request(method, where, body, {**AUTH, **headers})
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            return
        answered.release()


@pytest.mark.timeout(300 + 60 * KILLS)
@pytest.mark.parametrize(
    ("empty_installation", "kills"),
    [("postgresql, local", KILLS), (STORED[-2], -(-KILLS // 2))],
    indirect=["empty_installation"],
)
def test_kills(installation: Installation, kills: int, tmp_path: Path) -> None:
    """However often the server is killed under mixed load, after its clock has jumped
    or its database was demoted: every object has its blob, as it should be, every blob
    is an object or garbage, and sizes add up."""
    change(installation.dsn, "INSERT INTO prefixes (name, user_id) VALUES ('p', 0)")
    clock = WallClock(tmp_path / "clock")
    disturbances = Disturbances(clock, installation.dsn)
    server = ServerProcess(
        *installation.places,
        *("--dummy-auth", "T", "--dummy-cache"),
        environment={**installation.storage.environment, **clock.environment},
    )
    chance = random.Random(5)
    for turn in range(kills):
        answered = threading.Semaphore(0)
        server.start()
        clients = [
            threading.Thread(
                target=_client, args=(server.port, turn * CLIENTS + number, answered)
            )
            for number in range(CLIENTS)
        ]
        for client in clients:
            client.start()
        try:
            for _ in range(2):
                assert answered.acquire(timeout=60)
            disturbances.happen(chance)
            time.sleep(0.3 + chance.random() / 2)
        finally:  # or the clients would go on
            server.kill()
        for client in clients:
            client.join()
        ended = installation.run("verify", "--read")
        assert ended.status == 0, ended
        assert ended.of_kind("verified")[0]["findings"] == 0
