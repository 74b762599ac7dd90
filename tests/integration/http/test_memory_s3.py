"""Memory is a fixed buffer on S3 as well: two parts for each upload."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from qabel_block.ledger.migrate import upgrade
from tests.support.s3 import Store
from tests.support.server import ServerProcess

PIECE = bytes(range(256)) * 4096  # 1 MiB
MIB = 2**20


@pytest.fixture
def server(seaweedfs: dict[str, Store], tmp_path: Path) -> Iterator[ServerProcess]:
    bucket = seaweedfs["seaweedfs-http"].new_bucket()
    dsn = f"sqlite:///{tmp_path / 'ledger'}"
    upgrade(dsn)
    with ServerProcess(
        *bucket.options(),
        *("--psql-dsn", dsn),
        *("--dummy-cache", "--dummy-auth", "T"),
        environment=bucket.store.environment,
    ) as server:
        yield server


def _body(pieces: int, first: int = 0) -> Iterator[bytes]:
    for number in range(first, first + pieces):
        yield number.to_bytes(8, "big") + PIECE[8:]


def _client(server: ServerProcess) -> httpx.Client:
    return httpx.Client(
        base_url=server.url, headers={"Authorization": "Token T"}, timeout=300
    )


def _digest(pieces: Iterator[bytes]) -> bytes:
    digest = sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.digest()


def _warm_up(client: httpx.Client) -> None:
    """Let the process load what it loads only once."""
    url = "/api/v0/files/p/warm"
    assert client.post(url, content=_body(12)).status_code == 204
    assert client.get(url).status_code == 200


def test_150_mebibytes(server: ServerProcess) -> None:
    """150 MiB uploaded in chunks and downloaded: the process never grows by
    96 MiB."""
    client = _client(server)
    _warm_up(client)
    before = server.memory()
    url = "/api/v0/files/p/large"
    assert client.post(url, content=_body(150)).status_code == 204
    with client.stream("GET", url) as answer:
        assert _digest(answer.iter_raw()) == _digest(_body(150))
    assert server.peak_memory() - before < 96 * MIB


def test_16_uploads_at_a_time(server: ServerProcess) -> None:
    """16 uploads of 20 MiB at a time: the process never grows by 300 MiB."""
    client = _client(server)
    _warm_up(client)
    before = server.memory()

    def upload(number: int) -> int:
        url = f"/api/v0/files/p/{number}"
        body = _body(20, first=number * 20)
        return client.post(url, content=body).status_code

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(upload, range(16))) == [204] * 16
    assert server.peak_memory() - before < 300 * MIB
    for number in range(16):
        with client.stream("GET", f"/api/v0/files/p/{number}") as answer:
            assert _digest(answer.iter_raw()) == _digest(_body(20, number * 20))
