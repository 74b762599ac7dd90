"""What a client may take of a server's patience."""

from __future__ import annotations

import pytest

from qabel_block.http.transport.interfaces import (
    BODY_BUFFER_BYTES,
    BODY_BYTES,
    BODY_SECONDS,
    HEAD_SECONDS,
    IDLE_SECONDS,
)
from tests.unit.http.transport.conversation import Conversation, answer

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
SIZED = POST + b"Content-Length: 100000000\r\n\r\n"
TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\n"


def dribble(talk: Conversation, data: bytes, seconds: float) -> int:
    """Send bytes, one each so many seconds; return how many were taken."""
    for n in range(len(data)):
        if talk.over:
            return n
        talk.send(data[n : n + 1])
        talk.clock.advance(seconds)
    return len(data)


def test_silence() -> None:
    """A connection on which nothing ever comes is closed."""
    talk = Conversation()
    talk.clock.advance(IDLE_SECONDS)
    assert talk.over
    assert talk.received() == b""


@pytest.mark.parametrize("first", [b"", GET, GET * 3])
def test_slow_head(first: bytes) -> None:
    """A head that dribbles in is cut off, however steadily it does so, be it the
    first on its connection or not."""
    talk = Conversation(answer)
    talk.send(first)
    talk.received()
    taken = dribble(talk, b"GET /a HTTP/1.1\r\nX: " + b"x" * 1000, 1)
    assert taken == HEAD_SECONDS
    assert talk.received().startswith(TOO_SLOW)
    assert len(talk.requests) == first.count(b"GET")


def test_many_slow_lines() -> None:
    """It makes no difference that each line of it is whole."""
    talk = Conversation()
    talk.send(b"GET /a HTTP/1.1\r\n")
    for n in range(int(HEAD_SECONDS)):
        assert not talk.over
        talk.send(b"X-%d: y\r\n" % n)
        talk.clock.advance(1)
    assert talk.over
    assert talk.requests == []


def test_head_in_time() -> None:
    """A head that takes almost as long is served, and the next one has as long."""
    talk = Conversation(answer)
    for _ in range(3):
        assert dribble(talk, GET, (HEAD_SECONDS - 1) / len(GET)) == len(GET)
        talk.clock.advance(IDLE_SECONDS - 2)
    assert not talk.over
    assert len(talk.requests) == 3


@pytest.mark.parametrize("head", [SIZED, CHUNKED])
def test_slow_body(head: bytes) -> None:
    """A body that dribbles in is cut off, and the upload fails."""
    talk = Conversation()
    talk.send(head)
    piece = b"x" if head is SIZED else b"1\r\nx\r\n"
    seconds = 0
    while not talk.over:
        talk.send(piece)
        talk.clock.advance(1)
        seconds += 1
        talk.read()
    assert seconds == BODY_SECONDS
    assert talk.received().startswith(TOO_SLOW)


def test_slow_body_of_a_refused_upload() -> None:
    """A body that nobody wants has to come as fast, but the client has its answer."""
    talk = Conversation(lambda request: answer(request, 403))
    talk.send(SIZED)
    talk.clock.advance(BODY_SECONDS)
    assert talk.over
    received = talk.received()
    assert received.startswith(b"HTTP/1.1 403 ")
    assert received.count(b"HTTP/1.1 ") == 1


def test_body_that_is_fast_enough() -> None:
    """A body that comes just fast enough may take for ever."""
    talk = Conversation()
    talk.send(SIZED)
    for _ in range(100):
        talk.send(b"x" * BODY_BYTES)
        talk.read()
        talk.clock.advance(BODY_SECONDS)
        assert not talk.over


def test_body_that_we_do_not_take() -> None:
    """A client that we make wait is not cut off; when it may go on it has the whole
    time again."""
    talk = Conversation()
    talk.send(SIZED + b"x" * BODY_BUFFER_BYTES)
    assert talk.paused
    talk.clock.advance(10 * BODY_SECONDS)
    assert not talk.over
    talk.read()
    assert not talk.paused
    talk.clock.advance(BODY_SECONDS)
    assert not talk.over
    talk.clock.advance(BODY_SECONDS)
    assert talk.over


def test_slow_answer() -> None:
    """The time that we take for an answer is no fault of the client's."""
    talk = Conversation()
    talk.send(POST + b"Content-Length: 1\r\n\r\nx" + GET[:5])
    talk.clock.advance(10 * IDLE_SECONDS)
    assert not talk.over
    answer(talk.requests[0])
    talk.clock.advance(HEAD_SECONDS)
    assert talk.over


def test_nothing_is_left_to_do() -> None:
    """A connection that has ended leaves nothing with the clock."""
    for data in (b"GET", SIZED, SIZED + b"x", GET, CHUNKED + b"0\r\n\r\n"):
        talk = Conversation(answer if data == GET else lambda request: None)
        talk.send(data)
        talk.leave()
        assert talk.clock.getDelayedCalls() == []
