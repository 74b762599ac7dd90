"""The habits of the clients out there (PROTOCOL section 9)."""

import pytest

from tests.support.wire import Wire
from tests.support.world import User, World


@pytest.fixture
def user(world: World) -> User:
    return world.user()


def upload_as_clients(
    wire: Wire, user: User, path: str, body: bytes, **headers: str
) -> None:
    """Send an upload as they do: chunks of 4,096 bytes, no Content-Type."""
    wire.head(
        "POST",
        user.url(path),
        {
            **user.authorization,
            "Transfer-Encoding": "chunked",
            "Connection": "Keep-Alive",
            **headers,
        },
    )
    for start in range(0, len(body), 4096):
        wire.chunk(body[start : start + 4096])
    wire.chunk(b"")


def test_a_session(user: User) -> None:
    """Create a prefix, upload, download, edit, conflict, delete: on one
    connection, with nothing but the status line and headers on refusals."""
    auth = user.authorization
    with user.wire() as wire:
        wire.head("POST", "/api/v0/prefix/", {**auth, "Content-Length": "0"})
        assert wire.answer().status == 201
        body = b"0123456789" * 10_000
        upload_as_clients(wire, user, "index", body)
        answer = wire.answer()
        assert answer.status == 204
        etag = answer.headers["etag"]
        assert "date" in answer.headers
        wire.head("GET", user.url("index"), auth)
        answer = wire.answer()
        assert (answer.body, answer.headers["etag"]) == (body, etag)
        wire.head("GET", user.url("index"), {**auth, "If-None-Match": etag})
        assert wire.answer().status == 304
        upload_as_clients(wire, user, "index", b"mine", **{"If-Match": etag})
        assert wire.answer().status == 204
        upload_as_clients(wire, user, "index", b"theirs", **{"If-Match": etag})
        answer = wire.answer()
        assert (answer.status, answer.body) == (412, b"")
        for _ in range(2):
            wire.head("DELETE", user.url("index"), auth)
            assert wire.answer().status == 204
        wire.head("GET", user.url("index"), auth)
        answer = wire.answer()
        assert (answer.status, answer.body) == (404, b"")


def test_keep_alive(user: User) -> None:
    """A kept connection says for how long, less than the real limit, and at
    least 60 s."""
    from qabel_block.http.transport.interfaces import IDLE_SECONDS

    with user.wire() as wire:
        wire.head("GET", "/healthz")
        answer = wire.answer()
    assert answer.headers["connection"] == "keep-alive"
    announced = int(answer.headers["keep-alive"].removeprefix("timeout="))
    assert 60 <= announced <= IDLE_SECONDS - 5


def test_connection_close(user: User) -> None:
    """A client that asks for the connection's end gets it."""
    with user.wire() as wire:
        wire.head("GET", "/healthz", {"Connection": "close"})
        answer = wire.answer()
        assert answer.headers["connection"] == "close"
        assert "keep-alive" not in answer.headers
        assert wire.at_end()


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE"])
@pytest.mark.parametrize("accept", [None, "*/*"])
def test_error_bodies(user: User, method: str, accept: str | None) -> None:
    """An error has a body only if Accept admits it, and never on DELETE."""
    headers = {"Content-Length": "0"}
    if accept is not None:
        headers["Accept"] = accept
    with user.wire() as wire:
        wire.head(method, "/api/v0/files/no-such-prefix/a", headers)
        answer = wire.answer(method)
    assert answer.status in (403, 404)
    # HEAD is told the length of what GET would get (RFC 9110 section 8.6).
    has_body = accept is not None and method != "DELETE"
    assert (answer.headers["content-length"] != "0") == has_body
    assert (answer.body != b"") == (has_body and method != "HEAD")
