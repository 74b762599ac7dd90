"""Memory is a fixed buffer, whatever the object's size (DESIGN: streaming)."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from tests.support.server import ServerProcess

PIECE = bytes(range(256)) * 4096  # 1 MiB
LIMIT = 48 * 2**20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    home: Path = tmp_path_factory.mktemp("large")
    with ServerProcess("--standalone", str(home), "--dummy-auth", "T") as server:
        yield server


def _body(pieces: int) -> Iterator[bytes]:
    for number in range(pieces):
        yield number.to_bytes(8, "big") + PIECE[8:]


def test_one_gibibyte(server: ServerProcess) -> None:
    """256 MiB uploaded in chunks, and 1 GiB with a length, and downloaded: the process
    never grows by 48 MiB."""
    client = httpx.Client(
        base_url=server.url, headers={"Authorization": "Token T"}, timeout=300
    )
    client.post("/api/v0/files/p/warm", content=PIECE)
    client.get("/api/v0/files/p/warm")
    before = server.memory()
    url = "/api/v0/files/p/large"
    for pieces, headers in (
        (256, {}),
        (1024, {"Content-Length": str(1024 * len(PIECE))}),
    ):
        expected, digest = sha256(), sha256()
        for piece in _body(pieces):
            expected.update(piece)
        answer = client.post(url, content=_body(pieces), headers=headers)
        assert answer.status_code == 204
        with client.stream("GET", url) as answer:
            for data in answer.iter_raw():
                digest.update(data)
        assert digest.digest() == expected.digest()
        assert client.delete(url).status_code == 204
    assert server.peak_memory() - before < LIMIT


def test_readers_that_stop(server: ServerProcess) -> None:
    """Twenty readers that stop reading cost the process no object's memory."""
    from tests.support.wire import Wire

    client = httpx.Client(
        base_url=server.url, headers={"Authorization": "Token T"}, timeout=300
    )
    url = "/api/v0/files/p/medium"
    assert client.post(url, content=PIECE * 64).status_code == 204
    before = server.memory()
    wires = [Wire(server.port, receive_buffer=4096) for _ in range(20)]
    for wire in wires:
        wire.head("GET", url)
    for wire in wires:
        assert wire.socket.recv(100)
    assert client.get(url).content == PIECE * 64
    grown = server.memory() - before
    for wire in wires:
        wire.close()
    assert grown < LIMIT
