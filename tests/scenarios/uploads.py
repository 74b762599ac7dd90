"""POST, PUT and DELETE of objects (PROTOCOL section 2)."""

from base64 import b64encode
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from hashlib import md5, sha256

import pytest

from tests.support.world import User, World, problem


@pytest.fixture
def user(world: World) -> User:
    return world.user()


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 3_000_000, 12_000_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_upload(user: User, method: str, size: int, chunked: bool) -> None:
    """POST and PUT store a body of any size, with and without its length."""
    body = (b"0123456789abcde" * (size // 15 + 1))[:size]

    def pieces() -> Iterator[bytes]:
        yield from (body[i : i + 4096] for i in range(0, size, 4096))

    answer = user.client.request(
        method, user.url("a"), content=pieces() if chunked else body
    )
    assert (answer.status_code, answer.content) == (204, b"")
    assert parsedate_to_datetime(answer.headers["date"])
    assert "content-length" not in answer.headers
    downloaded = user.download("a")
    assert downloaded.content == body
    assert downloaded.headers["etag"] == answer.headers["etag"]


def test_no_length_at_all(user: User) -> None:
    """A request without a length has an empty body (RFC 9112 section 6.3)."""
    with user.wire() as wire:
        wire.head("POST", user.url("a"), user.authorization)
        assert wire.answer().status == 204
    assert user.download("a").content == b""


@pytest.mark.parametrize(
    "content_type",
    [
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "multipart/form-data",
        "text/html; charset=nonsense",
        "\u00e4",
    ],
)
def test_content_type_is_ignored(user: User, content_type: str) -> None:
    """A body of any kind is taken as bytes and never parsed as a form."""
    body = b'a=1&b=2%ff\r\n--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n'
    answer = user.client.post(
        user.url("a"),
        content=body,
        headers={b"Content-Type": content_type.encode("latin-1")},
    )
    assert answer.status_code == 204
    assert user.download("a").content == body


def test_etag_differs_with_every_version(user: User) -> None:
    """The ETag is a strong validator, different for every version."""
    etags = [user.upload("a", b"x" * (n % 3)).headers["etag"] for n in range(10)]
    assert len(set(etags)) == 10
    assert not any(etag.startswith("W/") for etag in etags)


def test_delete(user: User) -> None:
    """DELETE is 204 with an empty body, also when nothing was there."""
    user.upload("a", b"x")
    for _ in range(2):
        answer = user.delete("a")
        assert (answer.status_code, answer.content) == (204, b"")
        assert user.download("a").status_code == 404


def test_delete_with_a_body(user: User) -> None:
    """A body of a DELETE is ignored and does not disturb the connection."""
    with user.wire() as wire:
        headers = {**user.authorization, "Content-Length": "5"}
        wire.head("DELETE", user.url("a"), headers)
        wire.send(b"hello")
        assert wire.answer().status == 204
        wire.head("GET", "/healthz")
        assert wire.answer().status == 200


def _sha256(body: bytes) -> str:
    return f"sha-256=:{b64encode(sha256(body).digest()).decode()}:"


@pytest.mark.parametrize("field", ["Content_Digest", "Repr_Digest"])
def test_digest(world: World, user: User, field: str) -> None:
    """A body with the stated SHA-256 is stored, another one 400 and not stored."""
    assert user.upload("a", b"right", **{field: _sha256(b"right")}).status_code == 204
    etag = user.head("a").headers["etag"]
    files = len(world.stored(user.prefix))
    for value in (
        _sha256(b"other"),
        f"md5=:{b64encode(md5(b'wrong').digest()).decode()}:, {_sha256(b'other')}",
        "sha-256=:bm90IGEgZGlnZXN0:",
        "sha-256=nonsense",
        "sha-256=::",
        "sha-256",
    ):
        answer = user.upload("a", b"wrong", **{field: value})
        assert answer.status_code == 400
        assert "digest" in problem(answer)["detail"]
    assert user.head("a").headers["etag"] == etag
    assert len(world.stored(user.prefix)) == files
    # Other algorithms are nobody's business here.
    assert user.upload("a", b"x", **{field: "unixsum=30637"}).status_code == 204


def test_refusal_at_the_end_of_the_body(user: User) -> None:
    """What is refused when the body is complete keeps the connection, even if
    the server had nothing to do but to wait for the body."""
    user.prefix  # noqa: B018
    headers = {
        "Content-Length": "5",
        "Content-Digest": _sha256(b"other"),
        "Expect": "100-continue",
    }
    with user.wire() as wire:
        for _ in range(3):
            wire.head("POST", user.url("a"), {**user.authorization, **headers})
            assert wire.answer().status == 100
            wire.send(b"wrong")
            assert wire.answer().status == 400


def test_partial_upload_is_refused(user: User) -> None:
    """Content-Range is 400: a part must not replace the whole."""
    user.upload("a", b"whole")
    answer = user.upload("a", b"pa", Content_Range="bytes 0-1/5")
    assert answer.status_code == 400
    assert user.download("a").content == b"whole"


def test_request_id(user: User) -> None:
    """X-Request-ID is taken over when sane, made otherwise, always answered."""
    given = user.upload("a", b"x", X_Request_ID="abc-123").headers["x-request-id"]
    assert given == "abc-123"
    made = {user.download("a").headers["x-request-id"] for _ in range(3)}
    assert len(made) == 3
    assert "" not in made
    for insane in ("x" * 129, "a b", ""):
        answer = user.download("a", X_Request_ID=insane)
        assert answer.headers["x-request-id"] not in ("", insane)
