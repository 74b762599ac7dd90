"""Requests that a proxy in front might read in another way, over real TCP."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import httpx
import pytest

from tests.support.server import ServerProcess

HOST = b"Host: x\r\nAuthorization: Token T\r\n"
POST = b"POST /api/v0/files/p/target HTTP/1.1\r\n" + HOST
HIDDEN = b"DELETE /api/v0/files/p/victim HTTP/1.1\r\n" + HOST + b"\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    home = tmp_path_factory.mktemp("ambiguity") / "home"
    server = ServerProcess("--standalone", str(home), "--dummy-auth", "T")
    server.start()
    yield server
    server.kill()
    assert "Traceback" not in server.log()


@pytest.fixture
def client(server: ServerProcess) -> Iterator[httpx.Client]:
    headers = {"Authorization": "Token T"}
    url = f"{server.url}/api/v0/files/p/"
    with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
        assert client.post("victim", content=b"still here").status_code == 204
        client.delete("target")
        yield client


def exchange(server: ServerProcess, *pieces: bytes, half_close: bool = False) -> bytes:
    """Send pieces; return all that is answered until the server hangs up, or says
    nothing more for a while."""
    with socket.create_connection(("127.0.0.1", server.port), 30) as connection:
        answered = b""
        try:
            for piece in pieces:
                connection.sendall(piece)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
            connection.settimeout(5)
            while data := connection.recv(65536):
                answered += data
        except (ConnectionError, TimeoutError):
            pass
        return answered


AMBIGUOUS = {
    "two lengths": POST + b"Content-Length: 0\r\nContent-Length: 5\r\n\r\n",
    "two equal lengths": POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nabcde",
    "a list of lengths": POST + b"Content-Length: 5, 5\r\n\r\nabcde",
    "length and chunked": POST + b"Content-Length: 5\r\n" + CHUNKED + b"\r\n0\r\n\r\n",
    "chunked and length": POST + CHUNKED + b"Content-Length: 5\r\n\r\n0\r\n\r\n",
    "chunked twice": POST + CHUNKED + CHUNKED + b"\r\n0\r\n\r\n",
    "not only chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "identity": POST + b"Transfer-Encoding: identity\r\nContent-Length: 0\r\n\r\n",
    "chunked with a tail": POST + b"Transfer-Encoding: chunked\x0b\r\n\r\n0\r\n\r\n",
    "signed length": POST + b"Content-Length: +5\r\n\r\nabcde",
    "hexadecimal length": POST + b"Content-Length: 0x5\r\n\r\nabcde",
    "length with an underscore": POST + b"Content-Length: 1_0\r\n\r\n0123456789",
    "endless length": POST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
    "no length": POST + b"Content-Length: \r\n\r\n",
    "space before the colon": POST + b"Content-Length : 5\r\n\r\nabcde",
    "folded": POST + b"X: y\r\n Content-Length: 5\r\n\r\n",
    "folded first line": b"GET / HTTP/1.1\r\n" + b" X: y\r\n" + HOST + b"\r\n",
    "leading space": b" " + POST + b"Content-Length: 0\r\n\r\n",
    "bare line feeds": POST.replace(b"\r\n", b"\n") + b"Content-Length: 0\n\n\r\n\r\n",
    "bare line feed in a value": POST + b"X: y\nContent-Length: 5\r\n\r\n",
    "bare carriage return": POST + b"X: y\rContent-Length: 5\r\n\r\n",
    "a null byte": POST + b"X: y\0z\r\nContent-Length: 0\r\n\r\n",
    "two hosts": POST + b"Host: y\r\nContent-Length: 0\r\n\r\n",
    "no host": b"POST /api/v0/files/p/target HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    "too many headers": POST + b"X: y\r\n" * 600 + b"\r\n",
    "too long a line": POST + b"X: " + b"y" * 70_000 + b"\r\n\r\n",
    "too much in all": POST + (b"X: " + b"y" * 1000 + b"\r\n") * 100 + b"\r\n",
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_ambiguous_head(server: ServerProcess, client: httpx.Client, name: str) -> None:
    """A head that can be read in two ways is refused; what follows it is no request
    for anybody, and nothing is changed."""
    answered = exchange(server, AMBIGUOUS[name] + HIDDEN)
    assert answered.startswith(b"HTTP/1.1 400 ")
    assert answered.count(b"HTTP/1.1 ") == 1
    assert client.get("victim").content == b"still here"
    assert client.get("target").status_code == 404


BAD_CHUNKS = {
    "bare line feed": b"5\nabcde\r\n0\r\n\r\n",
    "bare line feed behind": b"5\r\nabcde\n0\r\n\r\n",
    "negative": b"-5\r\nabcde\r\n0\r\n\r\n",
    "prefixed": b"0x5\r\nabcde\r\n0\r\n\r\n",
    "underscore": b"0_5\r\nabcde\r\n0\r\n\r\n",
    "nothing": b"\r\nabcde\r\n0\r\n\r\n",
    "too long": b"5\r\nabcdef\r\n0\r\n\r\n",
    "too short": b"5\r\nabc\r\n0\r\n\r\n",
    "huge": b"f" * 16 + b"\r\nabcde\r\n0\r\n\r\n",
    "endless size": b"0" * 100_000,
    "endless extension": b"5;" + b"x" * 100_000,
    "endless trailer": b"0\r\n" + b"X: y\r\n" * 50_000,
}


@pytest.mark.parametrize("name", BAD_CHUNKS)
def test_bad_chunks(server: ServerProcess, client: httpx.Client, name: str) -> None:
    """A body whose chunks are malformed is no body: nothing is stored, and what
    follows is no request."""
    answered = exchange(server, POST + CHUNKED + b"\r\n", BAD_CHUNKS[name] + HIDDEN)
    assert b" 204 " not in answered
    assert answered.count(b"HTTP/1.1 ") <= 1
    assert client.get("victim").content == b"still here"
    assert client.get("target").status_code == 404


def test_pipelining_behind_an_upload(
    server: ServerProcess, client: httpx.Client
) -> None:
    """What is sent behind an upload is served after it, in order, and sees it."""
    body = b"x" * 200_000
    upload = POST + b"Content-Length: %d\r\n\r\n" % len(body) + body
    read = b"GET /api/v0/files/p/target HTTP/1.1\r\nHost: x\r\n"
    answered = exchange(
        server, upload + read + b"\r\n" + HIDDEN + read + b"Connection: close\r\n\r\n"
    )
    parts = answered.split(b"HTTP/1.1 ")[1:]
    assert [part[:3] for part in parts] == [b"204", b"200", b"204", b"200"]
    assert parts[1].endswith(body)
    assert client.get("victim").status_code == 404


def test_flood_behind_an_answer(server: ServerProcess, client: httpx.Client) -> None:
    """A client that sends requests and never reads costs a bounded memory."""
    client.post("target", content=b"x" * 1_000_000)
    read = b"GET /api/v0/files/p/target HTTP/1.1\r\nHost: x\r\n\r\n"
    before = server.memory()
    connections = []
    for _ in range(20):
        connection = socket.create_connection(("127.0.0.1", server.port), 30)
        connection.setblocking(False)
        connections.append(connection)
        try:
            while connection.send(read * 1000):
                pass
        except BlockingIOError:
            pass
    assert client.get("target").status_code == 200
    grown = server.memory() - before
    for connection in connections:
        connection.close()
    assert grown < 48 * 2**20


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (POST + b"Content-Length: 5\r\n\r\nabc", b"HTTP/1.1 400 "),
        (POST + CHUNKED + b"\r\n5\r\nabcde\r\n", b"HTTP/1.1 400 "),
        (POST[:30], b""),
    ],
)
def test_half_closed_in_a_request(
    server: ServerProcess, client: httpx.Client, sent: bytes, answer: bytes
) -> None:
    """A client that closes its side in the middle of a request changes nothing; it is
    told so once there is a request, and its connection ends."""
    answered = exchange(server, sent, half_close=True)
    assert answered.startswith(answer)
    assert bool(answered) == bool(answer)
    assert client.get("target").status_code == 404


def test_half_closed_behind_requests(
    server: ServerProcess, client: httpx.Client
) -> None:
    """A client that closes its side when it has asked for all it wants gets all the
    answers, and then its connection ends."""
    upload = POST + b"Content-Length: 5\r\n\r\nabcde"
    download = b"GET /api/v0/files/p/target HTTP/1.1\r\n" + HOST + b"\r\n"
    answers = exchange(server, upload, download, download, half_close=True)
    first, second, third = answers.split(b"HTTP/1.1 ")[1:]
    assert first.startswith(b"204 ")
    for answer in (second, third):
        assert answer.startswith(b"200 ")
        assert answer.endswith(b"abcde")
