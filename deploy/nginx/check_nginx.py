"""Tries the example with the nginx of this machine, and the server behind it.

Not among the tests, which need no package but Python's. Run it with

    python -m pytest -n 0 deploy/nginx/check_nginx.py
"""

from __future__ import annotations

import json
import random
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from attrs import frozen
from websockets.sync.client import connect

from tests.support.certificates import make_certificate
from tests.support.database import query
from tests.support.nginx import nginx_command, nginx_configuration
from tests.support.server import ServerProcess
from tests.support.waiting import wait_for
from tests.support.wire import Wire

EXAMPLE = Path(__file__).with_name("qabel-block.conf")
TOKEN = {"Authorization": "Token T"}
OBJECT = "/api/v0/files/p/blocks/a-1/b_2"
BODY = random.Random(20270115).randbytes(8 * 1024 * 1024 + 7)


@frozen
class Front:
    """nginx, and the server behind it."""

    server: ServerProcess
    port: int
    home: Path
    trusted: ssl.SSLContext
    client: httpx.Client

    def wire(self) -> Wire:
        return Wire(self.port, wrap=self._encrypted)

    def _encrypted(self, plain: socket.socket) -> socket.socket:
        return self.trusted.wrap_socket(plain, server_hostname="127.0.0.1")

    def errors(self) -> str:
        return (self.home / "error.log").read_text()


def _configured(home: Path, server: ServerProcess, port: int) -> str:
    """Return the example, with addresses and folders of this run."""
    certificate, key = make_certificate(home)
    example = EXAMPLE.read_text()
    for theirs, ours in (
        ("server 127.0.0.1:8888;", f"server 127.0.0.1:{server.port};"),
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        ("    listen [::]:443 ssl;\n", ""),
        ("/etc/ssl/block.example/fullchain.pem", str(certificate)),
        ("/etc/ssl/block.example/privkey.pem", str(key)),
        ("/srv/qabel-block/", f"{home}/server/objects/"),
    ):
        assert theirs in example
        example = example.replace(theirs, ours)
    return nginx_configuration(
        home, example, errors="error.log info", main="master_process off;"
    )


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=60).close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.fixture(scope="module", params=["streamed", "x-accel-redirect"])
def front(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Front]:
    home = tmp_path_factory.mktemp("nginx")
    options = ["--standalone", str(home / "server"), "--dummy-auth", "T"]
    if request.param == "x-accel-redirect":
        options += ["--x-accel-redirect", "/blobs"]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with ServerProcess(*options) as server:
        config = home / "nginx.conf"
        config.write_text(_configured(home, server, port))
        command = nginx_command(config)
        subprocess.run([*command, "-t"], check=True, timeout=60)
        nginx = subprocess.Popen(command)
        try:
            trusted = ssl.create_default_context(cafile=str(home / "test.crt"))
            wait_for(lambda: _accepts(port))
            with httpx.Client(
                base_url=f"https://127.0.0.1:{port}",
                headers=TOKEN,
                verify=trusted,
                timeout=60,
            ) as client:
                answer = client.put(OBJECT, content=BODY)
                assert answer.status_code == 204
                yield Front(server, port, home, trusted, client)
        finally:
            nginx.terminate()
            assert nginx.wait(60) == 0


def _direct(front: Front) -> httpx.Response:
    """Return the head of the object, as the server has it."""
    return httpx.head(f"{front.server.url}{OBJECT}", timeout=60)


def test_download(front: Front) -> None:
    """A download is the object byte for byte, with the server's headers, each of
    them once."""
    answer = front.client.get(OBJECT)
    assert (answer.status_code, answer.content) == (200, BODY)
    expected = _direct(front).headers
    for name in (
        *("ETag", "Last-Modified", "Repr-Digest", "Content-Type", "Content-Length"),
        *("Cache-Control", "Accept-Ranges", "X-Content-Type-Options"),
    ):
        assert answer.headers.get_list(name) == [expected[name]], name
    for name in ("X-Request-ID", "Date"):
        assert len(answer.headers.get_list(name)) == 1, name
    assert "X-Accel-Redirect" not in answer.headers


@pytest.mark.parametrize(
    ("headers", "status", "body"),
    [
        ({"Range": "bytes=5-9"}, 206, BODY[5:10]),
        ({"Range": "bytes=5-"}, 206, BODY[5:]),
        ({"Range": "bytes=-5"}, 206, BODY[-5:]),
        ({"Range": "bytes=-99999999999"}, 206, BODY),
        ({"Range": "bytes=0-99999999999"}, 206, BODY),
        ({"Range": "bytes=5-9", "If-Range": "ETAG"}, 206, BODY[5:10]),
        ({"Range": "bytes=5-9", "If-Range": "BARE"}, 206, BODY[5:10]),
        ({"Range": "bytes=5-9", "If-Range": '"other"'}, 200, BODY),
        ({"Range": "bytes=0-1,5-9"}, 200, BODY),
        ({"Range": "bytes=9-5"}, 200, BODY),
        ({"Range": "lines=1-2"}, 200, BODY),
        ({"Range": "bytes=99999999-"}, 416, b""),
        ({"If-None-Match": "ETAG"}, 304, b""),
        ({"If-None-Match": '"other"'}, 200, BODY),
        ({"If-None-Match": "*"}, 304, b""),
        ({"If-Match": "ETAG"}, 200, BODY),
        ({"If-Match": '"other"'}, 412, b""),
        ({"If-Modified-Since": "Thu, 01 Jan 2099 00:00:00 GMT"}, 304, b""),
        ({"If-Unmodified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}, 412, b""),
    ],
    # Each worker has to find the same tests.
    ids=lambda value: f"{len(value)} bytes" if isinstance(value, bytes) else str(value),
)
def test_conditions_and_ranges(
    front: Front, headers: dict[str, str], status: int, body: bytes
) -> None:
    """They mean what they mean without nginx."""
    etag = _direct(front).headers["etag"]
    headers = {
        name: value.replace("ETAG", etag).replace("BARE", etag.strip('"'))
        for name, value in headers.items()
    }
    answer = front.client.get(OBJECT, headers={**headers, "Accept": "text/html"})
    assert (answer.status_code, answer.content) == (status, body)
    if status == 206:
        start = BODY.index(body)
        end = start + len(body) - 1
        assert answer.headers["content-range"] == f"bytes {start}-{end}/{len(BODY)}"
    if status != 416:
        assert answer.headers.get_list("etag") == [etag]


def test_streamed_upload(front: Front) -> None:
    """A chunked upload reaches the server while it is sent."""
    incoming = front.home / "server/objects/.incoming"
    with front.wire() as wire:
        wire.head("POST", f"{OBJECT}-2", {**TOKEN, "Transfer-Encoding": "chunked"})
        for at in range(0, len(BODY), 65_536):
            wire.chunk(BODY[at : at + 65_536])
        wait_for(lambda: any(incoming.iterdir()))
        wire.chunk(b"")
        assert wire.answer().status == 204
    assert front.client.get(f"{OBJECT}-2").content == BODY
    assert "buffered to a temporary file" not in front.errors()


def test_refused_upload(front: Front) -> None:
    """A client that sends 64 MiB before it reads gets its refusal, with the reason
    phrase."""
    with front.wire() as wire:
        wire.head("POST", OBJECT, {"Transfer-Encoding": "chunked"})
        for _ in range(1024):
            wire.chunk(bytes(65_536))
        wire.chunk(b"")
        answer = wire.answer()
    assert (answer.status, answer.reason) == (403, "No authorization given")


def test_keep_alive(front: Front) -> None:
    """The connection stays, and the client is told for how long."""
    with front.wire() as wire:
        for _ in range(3):
            wire.head("GET", "/healthz")
            answer = wire.answer()
            assert answer.status == 200
            assert answer.headers["keep-alive"] == "timeout=60"


@pytest.mark.parametrize(
    "path",
    [
        "/blobs/.incoming",
        "/api/v0/files/p/a%2Fb",
        "/api/v0/files/p/../p/a",
        "/api/v0/files//p/a",
    ],
)
def test_no_way_around(front: Front, path: str) -> None:
    """Paths are what they are for the server."""
    with front.wire() as wire:
        wire.head("GET", path)
        assert wire.answer().status == 404


def test_files_are_internal(front: Front) -> None:
    """A file is not to be had by its own name."""
    objects = front.home / "server/objects"
    (file,) = objects.glob("p/blocks~/a-1~/b_2~*")
    assert front.client.get(f"/blobs/{file.relative_to(objects)}").status_code == 404


def test_push(front: Front) -> None:
    """WebSockets go through."""
    uri = f"wss://127.0.0.1:{front.port}/api/v0/websocket/p"
    with connect(uri, ssl=front.trusted, additional_headers=TOKEN) as websocket:
        answer = front.client.put("/api/v0/files/p/a", content=b"x")
        event = json.loads(websocket.recv(timeout=60))
    assert event["etag"] == answer.headers["etag"]


def test_delete(front: Front) -> None:
    """Deletions have no body."""
    front.client.put("/api/v0/files/p/gone", content=b"x")
    assert front.client.delete("/api/v0/files/p/gone").status_code == 204
    assert front.client.get("/api/v0/files/p/gone").reason_phrase == "File not found"


def test_missing_file(front: Front) -> None:
    """A file that is not there is an error, never 404: the object exists."""
    front.client.put("/api/v0/files/p/lost", content=b"x")
    (file,) = (front.home / "server/objects/p").glob("lost~*")
    file.unlink()
    answer = front.client.get("/api/v0/files/p/lost")
    assert answer.status_code == 500
    assert "retry-after" not in answer.headers


def test_traffic(front: Front) -> None:
    """Downloads are counted."""
    ledger = f"sqlite:///{front.home}/server/ledger.sqlite"

    def traffic() -> int:
        return int(query(ledger, "SELECT coalesce(sum(traffic), 0) FROM traffic")[0][0])

    before = traffic()
    front.client.get(OBJECT)
    wait_for(lambda: traffic() >= before + len(BODY))
