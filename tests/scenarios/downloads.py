"""GET and HEAD of objects: representation, ranges, conditions (PROTOCOL 2)."""

from base64 import b64encode
from email.utils import formatdate, parsedate_to_datetime
from hashlib import sha256

import httpx
import pytest

from tests.support.world import User, World

BODY = bytes(range(256)) * 5000  # several pieces of any buffer on the way


@pytest.fixture
def user(world: World) -> User:
    user = world.user()
    user.upload("a", BODY)
    return user


def _digest(body: bytes) -> str:
    return f"sha-256=:{b64encode(sha256(body).digest()).decode()}:"


def test_representation(user: User) -> None:
    """GET answers 200 with the bytes and the headers that the contract names."""
    answer = user.download("a")
    assert (answer.status_code, answer.reason_phrase) == (200, "OK")
    assert answer.content == BODY
    assert answer.headers["content-length"] == str(len(BODY))
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["repr-digest"] == _digest(BODY)
    assert answer.headers["etag"].startswith('"')
    assert answer.headers["etag"].endswith('"')
    assert "date" in answer.headers
    assert "last-modified" in answer.headers


def test_ranges_are_always_offered(user: User) -> None:
    """Whatever the answer to GET and HEAD is, it says that ranges can be had."""
    etag = user.head("a").headers["etag"]
    answers = [
        user.head("a"),
        user.download("a", If_None_Match=etag),
        user.download("a", Range="bytes=1-2"),
        user.download("a", Range=f"bytes={len(BODY)}-"),
        user.download("missing"),
    ]
    assert [answer.status_code for answer in answers] == [200, 304, 206, 416, 404]
    assert [answer.headers["accept-ranges"] for answer in answers] == ["bytes"] * 5


def test_head_is_get_without_body(user: User) -> None:
    """HEAD answers with the headers of GET and no body."""
    get, head = user.download("a"), user.head("a")
    assert head.status_code == 200
    assert head.content == b""
    changing = {"date", "x-request-id"}
    assert {(k, v) for k, v in head.headers.items() if k not in changing} == {
        (k, v) for k, v in get.headers.items() if k not in changing
    }


def test_empty_object(user: User) -> None:
    """An empty body is a valid object of size 0."""
    assert user.upload("empty", b"").status_code == 204
    answer = user.download("empty")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == "0"
    assert answer.headers["repr-digest"] == _digest(b"")
    for whole in ("bytes=0-", "bytes=0-9", "bytes=-5"):
        answer = user.download("empty", Range=whole)
        assert (answer.status_code, answer.content) == (200, b"")
    for outside in ("bytes=1-", "bytes=-0"):
        assert user.download("empty", Range=outside).status_code == 416


def test_missing_object(user: User) -> None:
    """What is not there is 404 `File not found`, below a foreign prefix too."""
    for answer in (
        user.download("missing"),
        user.head("missing"),
        user.client.get("/api/v0/files/no-such-prefix/a"),
        user.download("a", Range="bytes=0-1") and user.download("missing/a"),
    ):
        assert (answer.status_code, answer.reason_phrase) == (404, "File not found")


SIZE = len(BODY)


@pytest.mark.parametrize(
    ("requested", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-", 0, SIZE),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE),
        ("bytes=-1", SIZE - 1, SIZE),
        ("bytes=-300000", SIZE - 300000, SIZE),
        (f"bytes=-{SIZE + 5}", 0, SIZE),
        (f"bytes=100-{SIZE * 2}", 100, SIZE),
        ("bytes=262143-262145", 262143, 262146),
        ("Bytes=5-9", 5, 10),
    ],
)
def test_single_range(user: User, requested: str, start: int, end: int) -> None:
    """A single range is answered with 206 and exactly these bytes."""
    answer = user.download("a", Range=requested)
    assert answer.status_code == 206
    assert answer.content == BODY[start:end]
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{SIZE}"
    assert answer.headers["content-length"] == str(end - start)
    assert answer.headers["repr-digest"] == _digest(BODY)


@pytest.mark.parametrize("requested", [f"bytes={SIZE}-", "bytes=-0", "bytes=9999999-"])
def test_unsatisfiable_range(user: User, requested: str) -> None:
    """A range outside the object is 416 with the object's size."""
    answer = user.download("a", Range=requested)
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{SIZE}"


@pytest.mark.parametrize(
    "requested", ["bytes=0-1,5-9", "lines=1-2", "bytes=5-2", "bytes=", "bytes=a-b", "x"]
)
def test_ignored_range(user: User, requested: str) -> None:
    """Several ranges, other units and nonsense are answered with the whole."""
    answer = user.download("a", Range=requested)
    assert (answer.status_code, answer.content) == (200, BODY)


def test_if_range(user: User) -> None:
    """Range applies only if If-Range names the current version, strongly: of a date
    there may be two."""
    head = user.head("a").headers
    etag = head["etag"]
    for value in (etag, etag.strip('"')):
        assert user.download("a", Range="bytes=0-1", If_Range=value).status_code == 206
    for value in ('"other"', f"W/{etag}", head["last-modified"]):
        answer = user.download("a", Range="bytes=0-1", If_Range=value)
        assert (answer.status_code, answer.content) == (200, BODY)


def test_head_ignores_range(user: User) -> None:
    """Range is defined for GET only (RFC 9110 section 14.2)."""
    answer = user.head("a", Range="bytes=0-1")
    assert answer.status_code == 200
    assert answer.headers["content-length"] == str(SIZE)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_not_modified(user: User, method: str) -> None:
    """If-None-Match answers 304 without a body if it matches, weakly too."""
    etag = user.head("a").headers["etag"]
    for value in (
        etag,
        etag.strip('"'),
        f"W/{etag}",
        f'"x", {etag}',
        f'"x",W/{etag} ,"y"',
        "*",
    ):
        answer = user.client.request(
            method, user.url("a"), headers={"If-None-Match": value}
        )
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == etag
        assert "content-length" not in answer.headers
    for value in ('"x"', '"x", "y"', ""):
        answer = user.client.request(
            method, user.url("a"), headers={"If-None-Match": value}
        )
        assert answer.status_code == 200


def test_last_modified(user: User) -> None:
    """Last-Modified is when the version was made, and never after Date; the
    conditions on it are those of RFC 9110 section 13.1."""
    before = user.head("a").headers["date"]
    user.upload("dated", BODY)
    answer = user.download("dated")
    date, after = answer.headers["last-modified"], answer.headers["date"]
    made = parsedate_to_datetime(date).timestamp()
    assert parsedate_to_datetime(before) <= parsedate_to_datetime(date)
    assert parsedate_to_datetime(date) <= parsedate_to_datetime(after)
    assert user.head("dated").headers["last-modified"] == date
    earlier = formatdate(made - 1, usegmt=True)
    for since, status in ((date, 304), (earlier, 200)):
        answer = user.download("dated", If_Modified_Since=since)
        assert (answer.status_code, answer.headers["last-modified"]) == (status, date)
    other = user.download("dated", If_Modified_Since=date, If_None_Match='"other"')
    assert other.status_code == 200
    for since, status in ((date, 200), (earlier, 412)):
        answer = user.download("dated", If_Unmodified_Since=since)
        assert answer.status_code == status
    assert user.upload("dated", b"x", If_Unmodified_Since=earlier).status_code == 412
    assert user.delete("dated", If_Unmodified_Since=earlier).status_code == 412


def test_if_match_on_get(user: User) -> None:
    """If-Match on GET is 412 unless it names the current version."""
    etag = user.head("a").headers["etag"]
    assert user.download("a", If_Match=etag).status_code == 200
    assert user.download("a", If_Match="*").status_code == 200
    answer = user.download("a", If_Match='"other"')
    assert answer.status_code == 412
    assert answer.headers["etag"] == etag


def test_missing_object_has_no_conditions(user: User) -> None:
    """Conditions change nothing about 404."""
    assert user.download("missing", If_None_Match="*").status_code == 404
    assert user.download("missing", If_Match='"x"').status_code == 404


def test_overwritten_while_sent(user: User) -> None:
    """A GET never mixes two versions, whatever happens while it is sent."""
    old = b"old" * 4_000_000
    user.upload("big", old)
    with user.wire(receive_buffer=4096) as wire:
        wire.head("GET", user.url("big"))
        wire.socket.recv(1, 2)  # it has begun
        assert user.upload("big", b"new" * 4_000_000).status_code == 204
        assert user.delete("big").status_code == 204
        answer = wire.answer()
    assert answer.body == old
    assert user.download("big").status_code == 404


def test_pipelined_downloads(user: User) -> None:
    """Requests sent in one go are answered in their order."""
    user.upload("b", b"second")
    with user.wire() as wire:
        lines = (f"GET {user.url(path)} HTTP/1.1\r\nHost: x\r\n\r\n" for path in "aba")
        wire.send("".join(lines).encode())
        assert [wire.answer().body for _ in range(3)] == [BODY, b"second", BODY]


def test_http_1_0(user: User) -> None:
    """A client of HTTP/1.0 gets its object and the connection's end."""
    with user.wire() as wire:
        wire.send(f"GET {user.url('a')} HTTP/1.0\r\n\r\n".encode())
        answer = wire.answer()
        assert answer.body == BODY
        assert answer.headers["connection"] == "close"
        assert wire.at_end()


def test_no_redirect(user: User) -> None:
    """No answer is a redirect."""
    client = httpx.Client(
        base_url=user.server.url,
        transport=user.server.transport(),
        follow_redirects=False,
    )
    for path in ("/api/v0/quota", "/api/v0//quota", "/API/v0/quota", user.url("a")):
        assert not client.get(path).is_redirect
