"""--x-accel-redirect: what is left to nginx, and what is not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from attrs import frozen

from tests.support.database import query
from tests.support.server import ServerProcess

BODY = bytes(range(256)) * 40
PATH = "/api/v0/files/p/blocks/a-1/b_2"


@frozen
class AccelServer:
    """A server behind nothing, with one object."""

    server: ServerProcess
    home: Path
    client: httpx.Client
    etag: str


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AccelServer]:
    home = tmp_path_factory.mktemp("handover") / "home"
    options = ("--standalone", str(home), "--dummy-auth", "T")
    with (
        ServerProcess(*options, "--x-accel-redirect", "/internal/blobs/") as server,
        httpx.Client(base_url=server.url, timeout=60) as client,
    ):
        client.headers["Authorization"] = "Token T"
        etag = client.post(PATH, content=BODY).headers["etag"]
        yield AccelServer(server, home, client, etag)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"If-None-Match": '"other"'},
        {"If-Range": '"other"'},
        {"Range": "bytes=5-9"},
        {"Range": "bytes=5-"},
        {"Range": "bytes=-5"},
        {"Range": "bytes=5-9", "If-Range": "ETAG"},
    ],
)
def test_handed_over(place: AccelServer, headers: dict[str, str]) -> None:
    """nginx is told which file to send; the answer has the object's headers, and
    no body."""
    headers = {k: v.replace("ETAG", place.etag) for k, v in headers.items()}
    answer = place.client.get(PATH, headers=headers)
    assert (answer.status_code, answer.content) == (200, b"")
    prefix, _, file = answer.headers["x-accel-redirect"].partition("/internal/blobs/")
    assert prefix == ""
    assert (place.home / "objects" / file).read_bytes() == BODY
    assert answer.headers["etag"] == place.etag
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["cache-control"] == "no-cache"
    head = place.client.head(PATH)
    assert answer.headers["repr-digest"] == head.headers["repr-digest"]
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("headers", "status", "body"),
    [
        ({"If-None-Match": "ETAG"}, 304, b""),
        ({"If-Match": '"other"'}, 412, b""),
        ({"If-Match": "ETAG"}, 200, BODY),
        ({"If-Modified-Since": "Thu, 01 Jan 2099 00:00:00 GMT"}, 304, b""),
        ({"If-Unmodified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}, 412, b""),
        ({"Range": "bytes=5-9", "If-Range": '"other"'}, 200, BODY),
        ({"Range": "bytes=5-9", "If-Range": "BARE"}, 206, BODY[5:10]),
        ({"Range": "bytes=0-1,5-9"}, 200, BODY),
        ({"Range": "bytes=9-5"}, 200, BODY),
        ({"Range": "lines=1-2"}, 200, BODY),
        ({"Range": "bytes = 5-9"}, 206, BODY[5:10]),
        ({"Range": "bytes=0-9999999999999999999"}, 206, BODY),
        ({"Range": "bytes=99999-"}, 416, b""),
    ],
)
def test_not_handed_over(
    place: AccelServer, headers: dict[str, str], status: int, body: bytes
) -> None:
    """What nginx would judge otherwise is answered as without it."""
    headers = {
        name: value.replace("ETAG", place.etag).replace("BARE", place.etag.strip('"'))
        for name, value in headers.items()
    }
    answer = place.client.get(PATH, headers={**headers, "Accept": "text/html"})
    assert (answer.status_code, answer.content) == (status, body)
    assert "x-accel-redirect" not in answer.headers


def test_head_and_empty_objects(place: AccelServer) -> None:
    """There is nothing to send for HEAD or of an empty object."""
    head = place.client.head(PATH)
    assert head.headers["content-length"] == str(len(BODY))
    assert "x-accel-redirect" not in head.headers
    place.client.post("/api/v0/files/p/empty", content=b"")
    empty = place.client.get("/api/v0/files/p/empty")
    assert (empty.status_code, empty.content) == (200, b"")
    assert "x-accel-redirect" not in empty.headers
    assert place.client.get("/api/v0/files/p/missing").status_code == 404


def test_traffic(tmp_path: Path) -> None:
    """The bytes that nginx is to send are counted, and in the log of usage."""
    home = tmp_path / "home"
    options = ("--standalone", str(home), "--dummy-auth", "T", "--dummy-log")
    with ServerProcess(*options, "--x-accel-redirect", "/blobs") as server:
        url = server.url + PATH
        httpx.post(url, content=BODY, headers={"Authorization": "Token T"})
        httpx.get(url)
        httpx.get(url, headers={"Range": "bytes=5-9"})
        server.stop()
    events = [json.loads(line) for line in server.output().splitlines()]
    assert [event["downloaded"] for event in events] == [0, len(BODY), 5]
    ledger = f"sqlite:///{home / 'ledger.sqlite'}"
    assert query(ledger, "SELECT sum(traffic) FROM traffic") == [(len(BODY) + 5,)]
