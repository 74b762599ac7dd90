"""One line for each request, and one ID for each, whatever becomes of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.support.accounting import AccountingDouble
from tests.support.server import ServerProcess
from tests.support.waiting import wait_for
from tests.support.wire import Wire

TOKEN = "token-that-nobody-may-see"
HEADERS = {"Authorization": f"Token {TOKEN}"}


@pytest.fixture(scope="module")
def accounting() -> Iterator[AccountingDouble]:
    with AccountingDouble() as double:
        double.add_user(TOKEN, 5)
        yield double


@pytest.fixture(scope="module")
def server(
    accounting: AccountingDouble, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    home = tmp_path_factory.mktemp("logged") / "home"
    options = (
        *("--standalone", str(home), "--max-body-size", "1000"),
        *("--accounting-host", accounting.url, "--apisecret", accounting.secret),
    )
    with ServerProcess(*options, "--debug") as server:
        yield server


@pytest.fixture(scope="module")
def prefix(server: ServerProcess) -> str:
    answer = httpx.post(f"{server.url}/api/v0/prefix/", headers=HEADERS)
    return str(answer.json()["prefix"])


def line_of(server: ServerProcess, request_id: str) -> dict[str, Any]:
    """Return the one line of a request."""
    found: list[dict[str, Any]] = []

    def look() -> bool:
        found[:] = [
            record for record in server.records() if record.get("request") == request_id
        ]
        return bool(found)

    wait_for(look)
    (line,) = found
    return line


def test_upload_and_download(server: ServerProcess, prefix: str) -> None:
    """A line says who asked what, and what was answered."""
    url = f"{server.url}/api/v0/files/{prefix}/a"
    stored = httpx.post(
        url, content=b"four", headers={**HEADERS, "X-Request-ID": "the-upload"}
    )
    assert stored.headers["x-request-id"] == "the-upload"
    line = line_of(server, "the-upload")
    assert line["method"] == "POST"
    assert line["path"] == f"/api/v0/files/{prefix}/a"
    assert (line["status"], line["bytes"], line["user"]) == (204, 0, 5)
    assert line["client"] == "127.0.0.1"
    assert 0 < line["ms"] < 60_000
    read = httpx.get(f"{url}?query=unseen")
    line = line_of(server, read.headers["x-request-id"])
    assert (line["status"], line["bytes"], line["user"]) == (200, 4, None)
    assert line["path"] == f"/api/v0/files/{prefix}/a"


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/api/v0/files/{}/none", {}, 404),
        ("GET", "/nowhere", {}, 404),
        ("GET", "/%2e%2e/%00", {}, 404),
        ("PATCH", "/api/v0/files/{}/a", {}, 405),
        ("POST", "/api/v0/files/{}/a", {"Content-Length": "9"}, 403),
        ("POST", "/api/v0/files/{}/a", {**HEADERS, "Content-Length": "5000"}, 413),
        ("POST", "/api/v0/files/{}/a", {**HEADERS, "If-Match": '"x"'}, 412),
        ("GET", "/api/v0/websocket/{}", {}, 426),
        ("DELETE", "/api/v0/files/{}/a", {}, 403),
    ],
)
def test_refusals(
    server: ServerProcess,
    prefix: str,
    method: str,
    path: str,
    headers: dict[str, str],
    status: int,
) -> None:
    """Every refusal has an ID, and its line."""
    with Wire(server.port) as wire:
        wire.head(method, path.format(prefix), headers)
        answer = wire.answer(method)
    assert answer.status == status
    line = line_of(server, answer.headers["x-request-id"])
    assert (line["method"], line["status"]) == (method, status)


@pytest.mark.parametrize(
    ("sent", "request_id"),
    [
        (b"nonsense\r\n\r\n", None),
        (b"GET / HTTP/1.1\r\nX-Request-ID: mine\r\n\r\n", "mine"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", None),
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n", None),
        (b"GET / HTTP/1.1\r\nHost: a\r\nno header\r\n\r\n", None),
    ],
)
def test_what_is_no_request(
    server: ServerProcess, sent: bytes, request_id: str | None
) -> None:
    """What can't be understood is refused with an ID, and has a line as well."""
    with Wire(server.port) as wire:
        wire.send(sent)
        answer = wire.answer()
        assert answer.status == 400
        assert wire.at_end()
    given = answer.headers["x-request-id"]
    assert request_id in (None, given)
    assert line_of(server, given)["status"] == 400


def test_broken_body(server: ServerProcess, prefix: str) -> None:
    """An upload whose chunks are broken has one line, with the status that it was
    answered with."""
    with Wire(server.port) as wire:
        headers = {
            **HEADERS,
            "Transfer-Encoding": "chunked",
            "X-Request-ID": "broken",
            "Expect": "100-continue",
        }
        wire.head("POST", f"/api/v0/files/{prefix}/broken", headers)
        assert wire.answer().status == 100
        wire.send(b"no length\r\n")
        answer = wire.answer()
    assert answer.status == 400
    assert answer.headers["x-request-id"] == "broken"
    line = line_of(server, "broken")
    assert (line["status"], line.get("cut")) == (400, None)


def test_client_that_leaves(server: ServerProcess, prefix: str) -> None:
    """A request whose client leaves has a line that says so."""
    with Wire(server.port) as wire:
        headers = {
            **HEADERS,
            "Content-Length": "9",
            "Expect": "100-continue",
            "X-Request-ID": "left",
        }
        wire.head("POST", f"/api/v0/files/{prefix}/a", headers)
        assert wire.answer().status == 100
    line = line_of(server, "left")
    assert (line["status"], line["cut"]) == (499, True)


def test_websockets(server: ServerProcess, prefix: str) -> None:
    """A handshake has an ID and a line, whether it is refused or not."""
    url = server.url.replace("http", "ws", 1) + f"/api/v0/websocket/{prefix}"
    with pytest.raises(InvalidStatus) as refused, connect(url):
        pass
    given = refused.value.response.headers["X-Request-ID"]
    assert line_of(server, given)["status"] == 403
    headers = {**HEADERS, "X-Request-ID": "opened"}
    with connect(url, additional_headers=headers) as socket:
        assert socket.response is not None
        assert socket.response.headers["X-Request-ID"] == "opened"
    line = line_of(server, "opened")
    assert (line["status"], line["user"]) == (101, 5)


def test_errors_name_the_request(
    server: ServerProcess, accounting: AccountingDouble
) -> None:
    """An event about a request has its ID."""
    accounting.status = 500
    try:
        headers = {"Authorization": "Token new", "X-Request-ID": "in-trouble"}
        answer = httpx.get(f"{server.url}/api/v0/quota/", headers=headers)
    finally:
        accounting.status = None
    assert answer.status_code == 503
    (event,) = [
        record
        for record in server.records()
        if record.get("request_id") == "in-trouble"
    ]
    assert event["level"] == "WARNING"
    assert event["status"] == 503
    assert event["kind"] == "Unavailable"


def test_all_is_json_without_secrets(server: ServerProcess, prefix: str) -> None:
    """Off a terminal each line is an object, even at the most talkative level, and
    there is no token, secret or query in any."""
    httpx.get(f"{server.url}/api/v0/quota/", headers=HEADERS)
    httpx.get(f"{server.url}/api/v0/quota/?{TOKEN}", headers={"Authorization": TOKEN})
    lines = server.log().splitlines()
    assert len(lines) > 10
    for line in lines:
        record = json.loads(line)
        assert {"time", "level", "logger", "process", "message"} <= record.keys()
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record["time"])
    for secret in (TOKEN, "s3cret-of-the-double"):
        assert secret not in server.log()


def test_nothing_is_lost_at_the_exit(tmp_path: Path) -> None:
    """Of a thousand requests right before SIGTERM, each has its line."""
    options = ("--standalone", str(tmp_path / "home"), "--dummy-auth", "T")
    with ServerProcess(*options) as server:
        with httpx.Client(base_url=server.url) as client:
            for number in range(1000):
                assert client.get(f"/api/v0/files/p/{number}").status_code == 404
        assert server.stop() == 0
    paths = {record.get("path") for record in server.records()}
    assert paths >= {f"/api/v0/files/p/{number}" for number in range(1000)}
