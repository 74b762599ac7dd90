"""Pages of other origins (PROTOCOL section 12), as far as it shows in the answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from tests.support.server import ServerProcess
from tests.support.wire import Wire

APP = "https://app.example"
OTHER = "https://other.example"
TOKEN = {"Authorization": "Token T-of-the-page"}
FILE = "/api/v0/files/p/a"
V0 = Subprotocol("v0.ws.block.qabel.de")
PREFIX_METHODS = "GET, HEAD, POST"
FILE_METHODS = "DELETE, GET, HEAD, POST, PUT"


@pytest.fixture(scope="module", params=[APP, "*", None], ids=str)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """A server for pages of one origin, of any, of none."""
    home = tmp_path_factory.mktemp("cors") / "home"
    options = ("--cors-origin", request.param) if request.param else ()
    dummy = ("--dummy-auth", "T-of-the-page")
    with ServerProcess("--standalone", str(home), *dummy, *options) as server:
        ask(server, "PUT", FILE, **TOKEN)
        yield server


def named(server: ServerProcess) -> list[str]:
    """Return those of the two origins whose pages may use a server."""
    if "--cors-origin" not in server.options:
        return []
    return [APP] if APP in server.options else [APP, OTHER]


def ask(
    server: ServerProcess, method: str, path: str, **headers: str
) -> httpx.Response:
    return httpx.request(
        method,
        server.url + path,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        content=b"x" if method in ("POST", "PUT") else None,
        timeout=60,
    )


@pytest.mark.parametrize("origin", [APP, OTHER])
@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/api/v0/prefix/", PREFIX_METHODS),
        ("/api/v0/quota", "GET, HEAD"),
        (FILE, FILE_METHODS),
        (f"{FILE}/b/", FILE_METHODS),
    ],
)
def test_preflight(server: ServerProcess, origin: str, path: str, methods: str) -> None:
    """A named origin is told what it may send, whoever asks; another one, and all
    without the option, that OPTIONS is no method here."""
    answer = ask(
        server,
        "OPTIONS",
        path,
        Origin=origin,
        Access_Control_Request_Method="PUT",
        Access_Control_Request_Headers="authorization,if-match",
    )
    headers = {name.lower() for name in answer.headers}
    if origin not in named(server):
        assert (answer.status_code, answer.headers["allow"]) == (405, methods)
        assert not any(name.startswith("access-control") for name in headers)
        return
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == origin
    assert answer.headers["access-control-allow-methods"] == methods
    assert int(answer.headers["access-control-max-age"]) > 0
    assert answer.headers["vary"] == "Origin"
    allowed = answer.headers["access-control-allow-headers"].split(", ")
    assert set(allowed) == {
        *("Authorization", "Content-Type", "Content-Digest", "If-Match", "Range"),
        *("If-None-Match", "If-Range", "Repr-Digest", "X-Request-ID"),
    }


def test_preflight_of_nothing(server: ServerProcess) -> None:
    """What is not there is 404, OPTIONS or not."""
    assert ask(server, "OPTIONS", "/api/v0/nothing", Origin=APP).status_code == 404
    assert ask(server, "OPTIONS", FILE).status_code == 405


@pytest.mark.parametrize("origin", [APP, OTHER])
@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("PUT", FILE, TOKEN, 204),
        ("GET", FILE, {}, 200),
        ("GET", FILE, {"Range": "bytes=0-0"}, 206),
        ("GET", FILE, {"If-None-Match": "*"}, 304),
        ("GET", FILE, {"Range": "bytes=9-"}, 416),
        ("PUT", FILE, {**TOKEN, "If-None-Match": "*"}, 412),
        ("PUT", FILE, {}, 403),
        ("GET", "/api/v0/files/p/none", {}, 404),
        ("GET", "/nothing", {}, 404),
        ("PATCH", FILE, {}, 405),
        ("GET", "/api/v0/websocket/p", {}, 426),
        ("GET", "/healthz", {}, 200),
    ],
)
def test_answers(
    server: ServerProcess,
    origin: str,
    method: str,
    path: str,
    headers: dict[str, str],
    status: int,
) -> None:
    """Every answer, refusals included, is shown to pages of named origins only, and
    never with credentials."""
    answer = ask(server, method, path, Origin=origin, **headers)
    assert answer.status_code == status
    check(server, origin, dict(answer.headers))


def check(server: ServerProcess, origin: str, headers: dict[str, str]) -> None:
    """Look at what an answer says about origins."""
    said = {name: v for name, v in headers.items() if name.startswith("access-")}
    assert ("vary" in headers) == bool(named(server))
    if origin in named(server):
        assert headers["vary"] == "Origin"
        assert said == {
            "access-control-allow-origin": origin,
            "access-control-expose-headers": "ETag, Content-Range, Accept-Ranges,"
            " Repr-Digest, Retry-After, X-Request-ID",
        }
    else:
        assert said == {}


def test_refusals_of_the_transport(server: ServerProcess) -> None:
    """So are the answers to what is no request."""
    with Wire(server.port) as wire:
        wire.head("POST", FILE, {"Origin": APP, "Content-Length": "1, 2"})
        answer = wire.answer()
    assert answer.status == 400
    check(server, APP, answer.headers)


def test_without_an_origin(server: ServerProcess) -> None:
    """A program is told nothing but that answers differ."""
    answer = ask(server, "GET", "/healthz")
    check(server, "nobody", dict(answer.headers))


def listen(server: ServerProcess, path: str, **options: Any) -> ClientConnection:
    url = f"{server.url.replace('http', 'ws')}/api/v0/websocket/{path}"
    opened: ClientConnection = connect(
        url, open_timeout=60, compression=None, **options
    )
    return opened


def refused(server: ServerProcess, path: str, **options: Any) -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as caught:
        listen(server, path, **options)
    answer = caught.value.response
    return answer.status_code, answer.reason_phrase


def test_origins_of_handshakes(server: ServerProcess) -> None:
    """A WebSocket is opened for a page of a named origin or of the server's own;
    without the option for any."""
    own = server.url
    welcome = [APP, OTHER] if not named(server) else named(server)
    for origin in (own, *welcome):
        with listen(server, "p/a", origin=Origin(origin)) as socket:
            ask(server, "PUT", FILE, **TOKEN)
            assert json.loads(socket.recv(timeout=60))["path"] == "p/a"
    for origin in {APP, OTHER, f"{own}0"}.difference(welcome) if named(server) else ():
        if APP in server.options:
            told = refused(server, "p/a", origin=Origin(origin))
            assert told == (403, "Origin not allowed")


def test_token_as_a_subprotocol(server: ServerProcess) -> None:
    """A page sends its token as a second subprotocol, which is neither selected nor
    logged; without the option it is not looked at."""
    offered = [V0, Subprotocol("bearer.T-of-the-page")]
    if not named(server):
        assert refused(server, "p", subprotocols=offered) == (
            403,
            "No authorization given",
        )
        return
    for protocols in (offered, offered[::-1]):
        with listen(server, "p", origin=Origin(APP), subprotocols=protocols) as socket:
            assert socket.subprotocol == V0
            assert socket.response is not None
            assert "T-of-the-page" not in str(socket.response.headers)
            ask(server, "PUT", FILE, **TOKEN)
            assert json.loads(socket.recv(timeout=60))["path"] == "p/a"
    wrong = [V0, Subprotocol("bearer.wrong")]
    assert refused(server, "p", subprotocols=wrong) == (403, "User not found")
    assert refused(server, "p", subprotocols=offered[1:]) == (400, "Bad Request")
    assert refused(server, "p", subprotocols=[V0, Subprotocol("bearer.")]) == (
        403,
        "No authorization given",
    )
    assert "T-of-the-page" not in server.log()
