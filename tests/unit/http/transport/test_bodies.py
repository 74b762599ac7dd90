"""Bodies that arrive while they are worked on, or are not wanted."""

from __future__ import annotations

import pytest

from qabel_block.errors import ClientGone
from qabel_block.http.transport.interfaces import (
    BODY_BUFFER_BYTES,
    BODY_BYTES,
    CLIENT_GONE,
    DISCARD_SECONDS,
    IDLE_SECONDS,
    MIN_DISCARD_BYTES,
    UNSENT_SECONDS,
)
from tests.unit.http.transport.conversation import Conversation, answer

POST = b"POST /a HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
GET = b"GET /b HTTP/1.1\r\nHost: x\r\n\r\n"
MIB = b"x" * 2**20


def sized(length: int, more: bytes = b"") -> bytes:
    return POST + b"Content-Length: %d\r\n%s\r\n" % (length, more)


def test_work_starts_with_the_head() -> None:
    """The work on a request starts when its head is complete, and not before."""
    talk = Conversation()
    head = sized(4)
    talk.send(head[:-1])
    assert talk.requests == []
    talk.send(head[-1:])
    (request,) = talk.requests
    assert (request.method, request.path) == (b"POST", b"/a")
    assert request.content_length == 4


@pytest.mark.parametrize(
    ("head", "pieces"),
    [
        (sized(6), [b"ab", b"cd", b"ef"]),
        (CHUNKED, [b"2\r\nab\r\n", b"2\r\ncd\r\n", b"2\r\nef\r\n0\r\n\r\n"]),
    ],
)
def test_body_arrives_in_pieces(head: bytes, pieces: list[bytes]) -> None:
    """Each piece can be read as soon as it is there, then the end."""
    talk = Conversation()
    talk.send(head)
    for piece, expected in zip(pieces, (b"ab", b"cd", b"ef"), strict=True):
        reading = talk.read()
        assert reading == []
        talk.send(piece)
        assert reading == [expected]
    assert talk.read() == [b""]
    assert talk.read() == [b""]


@pytest.mark.parametrize("start", [sized(6, b"Expect: 100-continue\r\n"), CHUNKED])
@pytest.mark.parametrize("piece", [b"", b"2\r\nab"])
def test_client_ends_in_a_body(start: bytes, piece: bytes) -> None:
    """A client that sends nothing more in the middle of a body is told that this is no
    request, and the body has no end. It may as well have left."""
    talk = Conversation()
    talk.send(start + piece)
    (request,) = talk.requests
    talk.end()
    assert talk.received().startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert talk.over
    talk.leave()
    assert request.status == CLIENT_GONE
    talk.read()
    assert talk.read() == [ClientGone]


def test_client_ends_in_a_body_that_is_answered() -> None:
    """Nothing is sent behind an answer that was given before the body was complete."""
    talk = Conversation(answer)
    talk.send(sized(6, b"") + b"ab")
    assert talk.received().startswith(b"HTTP/1.1 204 ")
    talk.end()
    assert talk.received() == b""
    assert talk.over
    assert talk.requests[0].status == 204


def test_back_pressure() -> None:
    """While nobody reads, the client is paused at a bound; then it goes on."""
    talk = Conversation()
    talk.send(sized(10 * len(MIB)))
    talk.send(MIB[: BODY_BUFFER_BYTES - 1])
    assert not talk.paused
    talk.send(b"x")
    assert talk.paused
    assert talk.read() == [MIB[:BODY_BUFFER_BYTES]]
    assert not talk.paused


def test_the_next_request_is_not_paused() -> None:
    """A body whose end comes while the client is paused leaves no pause."""
    talk = Conversation()
    talk.send(sized(len(MIB)) + MIB)
    assert talk.read() == [MIB]
    answer(talk.requests[0])
    assert not talk.paused
    talk.send(GET)
    assert len(talk.requests) == 2


def test_a_pause_is_not_silence() -> None:
    """A client that we make wait is not closed for its silence."""
    talk = Conversation()
    talk.send(sized(10 * len(MIB)) + MIB)
    assert talk.paused
    talk.clock.advance(IDLE_SECONDS + 1)
    assert not talk.over


@pytest.mark.parametrize("length", [0, 1, len(MIB) - 1])
def test_client_leaves(length: int) -> None:
    """A client that leaves before the end of its body fails the reading."""
    talk = Conversation()
    talk.send(sized(len(MIB)) + MIB[:length])
    waiting = talk.read() if length == 0 else []
    talk.leave()
    assert waiting == ([ClientGone] if length == 0 else [])
    assert talk.read() == [ClientGone]


def test_client_leaves_after_the_end() -> None:
    """What was complete can be read though its sender is gone."""
    talk = Conversation()
    talk.send(sized(2) + b"ab")
    talk.leave()
    assert talk.read() == [b"ab"]
    assert talk.read() == [b""]


@pytest.mark.parametrize("head", [sized(2 * len(MIB)), CHUNKED])
def test_early_answer(head: bytes) -> None:
    """An answer may come before the body, which is then read and thrown away, and
    the connection goes on with the next request."""
    talk = Conversation(lambda request: answer(request, 403))
    talk.send(head)
    assert talk.received().startswith(b"HTTP/1.1 403 ")
    body = MIB + MIB if head is not CHUNKED else b"100000\r\n" + MIB + b"\r\n0\r\n\r\n"
    talk.send(body[:1000])
    assert len(talk.requests) == 1
    talk.send(body[1000:] + GET)
    assert len(talk.requests) == 2
    assert talk.received().startswith(b"HTTP/1.1 403 ")
    assert not talk.over


def test_pipelined_behind_an_upload() -> None:
    """A request that was sent behind an upload waits until that is answered."""
    talk = Conversation()
    talk.send(sized(2) + b"ab" + GET)
    assert len(talk.requests) == 1
    answer(talk.requests[0])
    assert len(talk.requests) == 2


@pytest.mark.parametrize(
    ("max_body_size", "limit"),
    [(0, MIN_DISCARD_BYTES), (MIN_DISCARD_BYTES + 2**21, MIN_DISCARD_BYTES + 2**21)],
)
def test_limit_of_bytes_thrown_away(max_body_size: int, limit: int) -> None:
    """Of a body that nobody wants, only so much is read as a body may have, and at
    least 64 MiB."""
    assert MIN_DISCARD_BYTES == 64 * 2**20
    talk = Conversation(lambda request: answer(request, 413), max_body_size)
    talk.send(sized(2 * limit))
    for _ in range(limit // len(MIB)):
        talk.send(MIB)
    assert not talk.over
    talk.send(b"x")
    assert talk.over


def test_limit_of_time_for_throwing_away() -> None:
    """It is read for so long at the most, however busy the client is."""
    talk = Conversation(lambda request: answer(request, 413))
    talk.send(sized(MIN_DISCARD_BYTES))
    seconds = 0.0
    while seconds < DISCARD_SECONDS:
        assert not talk.over
        talk.send(MIB[:BODY_BYTES])
        talk.clock.advance(10)
        seconds += 10
    assert talk.over


EXPECT = b"Expect: 100-continue\r\n"


def test_continue_when_it_is_read() -> None:
    """The client is told to go on when somebody wants its body, and only once."""
    talk = Conversation()
    talk.send(sized(4, EXPECT))
    assert talk.received() == b""
    reading = talk.read()
    assert talk.received() == b"HTTP/1.1 100 Continue\r\n\r\n"
    talk.send(b"ab")
    assert reading == [b"ab"]
    talk.read()
    assert talk.received() == b""


def test_refusal_instead_of_continue() -> None:
    """A refusal comes in its place; whether the body follows is the client's
    choice, so the connection ends soon."""
    talk = Conversation(lambda request: answer(request, 402))
    talk.send(sized(4, EXPECT))
    received = talk.received()
    assert received.startswith(b"HTTP/1.1 402 ")
    assert b"Connection: close\r\n" in received
    assert not talk.over
    talk.clock.advance(UNSENT_SECONDS)
    assert talk.over


def test_client_that_does_not_wait() -> None:
    """A client that sends its body though it asked is not told to go on."""
    talk = Conversation()
    talk.send(sized(2, EXPECT) + b"ab")
    assert talk.read() == [b"ab"]
    assert talk.received() == b""
