"""Refusals that come before the body, and are read (PROTOCOL sections 2, 9)."""

from collections.abc import Callable

import pytest

from tests.support.settings import without_storage
from tests.support.world import User, World

MEBIBYTE = b"x" * 2**20
BODY_LIMIT = 2147483648


@pytest.fixture
def user(world: World) -> User:
    user = world.user(quota=2**20)
    user.upload("blocks/a", b"x")
    return user


Head = Callable[[User], dict[str, str]]
REFUSALS: dict[int, tuple[str, Head]] = {
    402: ("blocks/b", lambda user: user.authorization),
    403: ("blocks/b", lambda user: {"Authorization": "Token nobody"}),
    412: ("blocks/a", lambda user: {**user.authorization, "If-Match": '"no"'}),
    413: (
        "blocks/b",
        lambda user: {**user.authorization, "Content-Length": str(BODY_LIMIT + 1)},
    ),
}


def _head(user: User, status: int, length: int) -> tuple[str, dict[str, str]]:
    path, headers = REFUSALS[status]
    return user.url(path), {"Content-Length": str(length), **headers(user)}


@pytest.mark.parametrize("status", REFUSALS)
@without_storage
def test_answer_comes_before_the_body(user: User, status: int) -> None:
    """What the head shows is refused before a byte of the body is sent."""
    url, headers = _head(user, status, 2**20 if status == 412 else 2**21)
    with user.wire() as wire:
        wire.head("POST", url, headers)
        assert wire.answer().status == status


@pytest.mark.parametrize("status", [402, 403, 412])
@without_storage
def test_client_that_writes_first_reads_the_answer(user: User, status: int) -> None:
    """A client that sends all of a refused body first gets the answer, and
    keeps its connection."""
    length = 64 * 2**20
    url, headers = _head(user, status, length if status != 412 else 2**20)
    with user.wire() as wire:
        wire.head("POST", url, headers)
        for _ in range(int(headers["Content-Length"]) // len(MEBIBYTE)):
            wire.send(MEBIBYTE)
        answer = wire.answer()
        assert (answer.status, answer.body) == (status, b"")
        wire.head("GET", "/healthz")
        assert wire.answer().status == 200


@without_storage
def test_large_body_is_discarded(user: User) -> None:
    """A client that sends a few hundred megabytes before it reads gets the answer."""
    url, headers = _head(user, 403, 300 * 2**20)
    with user.wire() as wire:
        wire.head("POST", url, headers)
        for _ in range(300):
            wire.send(MEBIBYTE)
        assert wire.answer().status == 403
        wire.head("GET", "/healthz")
        assert wire.answer().status == 200


@pytest.mark.parametrize("status", [402, 403, 412])
@without_storage
def test_chunked_client_reads_the_answer(user: User, status: int) -> None:
    """The same holds for 64 MiB in chunks of 4,096 bytes."""
    url, headers = _head(user, status, 0)
    del headers["Content-Length"]
    headers["Transfer-Encoding"] = "chunked"
    chunk = b"1000\r\n" + b"x" * 4096 + b"\r\n"
    with user.wire() as wire:
        wire.head("POST", url, headers)
        for _ in range(64):
            wire.send(chunk * 256)
        wire.chunk(b"")
        answer = wire.answer()
        assert (answer.status, answer.body) == (status, b"")
        wire.head("GET", "/healthz")
        assert wire.answer().status == 200


def test_chunked_body_is_refused_as_soon_as_it_is_too_much(user: User) -> None:
    """Without a length it is 402 once the bytes received can't be allowed."""
    with user.wire() as wire:
        headers = {**user.authorization, "Transfer-Encoding": "chunked"}
        wire.head("POST", user.url("blocks/b"), headers)
        wire.chunk(MEBIBYTE)
        answer = wire.answer()
        assert (answer.status, answer.reason) == (402, "Quota reached")
        wire.chunk(b"")
        wire.head("GET", "/healthz")
        assert wire.answer().status == 200


def test_room_made_meanwhile_counts(user: User) -> None:
    """Space that is freed while a chunked body arrives is taken into account."""
    user.upload("blocks/a", b"x" * 2**20)
    user.upload("index", b"x")
    with user.wire() as wire:
        headers = {**user.authorization, "Transfer-Encoding": "chunked"}
        wire.head("POST", user.url("blocks/a"), headers)
        wire.chunk(b"y" * 2**19)
        assert user.delete("blocks/a").status_code == 204
        assert user.delete("index").status_code == 204
        wire.chunk(b"y" * 2**19)
        wire.chunk(b"")
        assert wire.answer().status == 204


@pytest.mark.parametrize("status", REFUSALS)
@without_storage
def test_refusal_instead_of_continue(user: User, status: int) -> None:
    """With Expect the refusal comes instead of 100 Continue; then the
    connection ends, since nobody knows whether a body will follow."""
    url, headers = _head(user, status, 2**20 if status == 412 else 2**21)
    with user.wire() as wire:
        wire.head("POST", url, {**headers, "Expect": "100-continue"})
        answer = wire.answer()
        assert answer.status == status
        assert answer.headers["connection"] == "close"
        assert wire.at_end()


def test_continue(user: User) -> None:
    """With Expect, a body that is wanted is asked for with 100 Continue."""
    with user.wire() as wire:
        headers = {
            **user.authorization,
            "Content-Length": "5",
            "Expect": "100-Continue",
        }
        wire.head("POST", user.url("c"), headers)
        assert wire.answer().status == 100
        wire.send(b"hello")
        assert wire.answer().status == 204
        wire.head("GET", user.url("c"))
        assert wire.answer().body == b"hello"


def test_no_continue_once_the_body_comes(user: User) -> None:
    """A client that does not wait for 100 Continue is served all the same."""
    with user.wire() as wire:
        lines = (
            f"POST {user.url('c')} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
            f"Authorization: Token {user.token}\r\nContent-Length: 5\r\n\r\nhello"
        )
        wire.send(lines.encode())
        answer = wire.answer()
        if answer.status == 100:
            answer = wire.answer()
        assert answer.status == 204
        wire.head("GET", user.url("c"))
        assert wire.answer().body == b"hello"


def test_body_size_limit(world: World) -> None:
    """A body of more than --max-body-size is 413, with and without a length."""
    # The scenario's server has the default limit; see test_max_body_size for a
    # body that is sent.
    user = world.user()
    headers = {**user.authorization, "Content-Length": str(BODY_LIMIT + 1)}
    with user.wire() as wire:
        wire.head("POST", user.url("a"), headers)
        assert wire.answer().status == 413
    headers["Content-Length"] = str(BODY_LIMIT)
    with user.wire() as wire:
        wire.head("POST", user.url("a"), {**headers, "Expect": "100-continue"})
        assert wire.answer().status == 100


@pytest.mark.parametrize(
    "head",
    [
        "POST /api/v0/files/p/a HTTP/1.1\r\n",
        f"POST /{'x' * 20_000} HTTP/1.1\r\nHost: x\r\n",
        f"POST /api/v0/files/p/a HTTP/1.1\r\nHost: x\r\nX: {'x' * 20_000}\r\n",
        "POST /api/v0/files/p/a HTTP/1.1\r\nHost: x\r\nContent-Length: 1x\r\n",
    ],
    ids=["no host", "long path", "long header", "no length"],
)
@without_storage
def test_malformed_head_before_a_body(world: World, head: str) -> None:
    """A client that sends what is no request, and all of a body behind it, gets to read
    why; then its connection ends."""
    with world.user().wire() as wire:
        wire.send(f"{head}\r\n".encode())
        for _ in range(20):
            wire.send(MEBIBYTE)
        assert wire.answer().status == 400
        assert wire.at_end()
