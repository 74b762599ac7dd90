"""Heads: what is kept alive, what is refused, what is named."""

from __future__ import annotations

import re

import pytest

from qabel_block.http.transport.interfaces import IDLE_SECONDS, KEEP_ALIVE_SECONDS
from qabel_block.http.transport.request import StreamingRequest
from tests.unit.http.transport.conversation import Conversation, answer

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: x\r\n"


def test_keep_alive() -> None:
    """A connection is kept, and says for how long, with a margin."""
    talk = Conversation(answer)
    talk.send(GET + b"\r\n")
    received = talk.received()
    assert b"Connection: keep-alive\r\n" in received
    assert b"Keep-Alive: timeout=%d\r\n" % KEEP_ALIVE_SECONDS in received
    assert KEEP_ALIVE_SECONDS < IDLE_SECONDS
    talk.clock.advance(IDLE_SECONDS - 1)
    assert not talk.over
    talk.clock.advance(1)
    assert talk.over


@pytest.mark.parametrize(
    "head", [GET + b"Connection: close\r\n", b"GET /a HTTP/1.0\r\n"]
)
def test_close(head: bytes) -> None:
    """A client that wants the connection closed gets it closed."""
    talk = Conversation(answer)
    talk.send(head + b"\r\n")
    assert b"Connection: close\r\n" in talk.received()
    assert talk.over


TEN = b"GET /a HTTP/1.0\r\nConnection: %s\r\n"


@pytest.mark.parametrize("asked", [b"keep-alive", b"Keep-Alive", b"x, keep-alive"])
def test_keep_alive_of_http_1_0(asked: bytes) -> None:
    """HTTP/1.0 gets its connection kept if it asks for that."""
    talk = Conversation(lambda request: answer(request, 404))
    for _ in range(2):
        talk.send(TEN % asked + b"\r\n")
        assert b"Connection: keep-alive\r\n" in talk.received()
    assert len(talk.requests) == 2
    assert not talk.over


@pytest.mark.parametrize(
    "head",
    [
        TEN % b"close",
        TEN % b"keep-alive, close",
        TEN % b"keep-alive" + b"Transfer-Encoding: chunked\r\n",
    ],
)
def test_close_of_http_1_0(head: bytes) -> None:
    """Not if it wants it closed as well, or sends what it can't know the end of."""
    talk = Conversation(answer)
    talk.send(head + b"\r\n0\r\n\r\n")
    assert b"Connection: close\r\n" in talk.received()
    assert talk.over


def test_http_1_0_without_a_length() -> None:
    """An answer whose end only the connection's end tells ends it."""

    def stream(request: StreamingRequest) -> None:
        request.write(b"abc")
        request.finish()

    talk = Conversation(stream)
    talk.send(TEN % b"keep-alive" + b"\r\n")
    received = talk.received()
    assert b"Connection: close\r\n" in received
    assert b"chunked" not in received
    assert talk.over


def test_many_requests() -> None:
    """Requests on one connection are served one after the other, each once."""
    talk = Conversation(answer)
    talk.send((GET + b"\r\n") * 50)
    assert len(talk.requests) == 50
    assert talk.received().count(b"HTTP/1.1 204 ") == 50


MALFORMED = [
    b"nonsense\r\n\r\n",
    b"GET /a\r\n\r\n",
    b"GET /a HTTP/1.1\r\n\r\n",
    GET + b"Host: y\r\n\r\n",
    GET + b"no colon\r\n\r\n",
    GET + b"Name : x\r\n\r\n",
    POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    POST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    POST + b"Content-Length: -1\r\n\r\n",
    POST + b"Content-Length: +1\r\n\r\nx",
    POST + b"Content-Length: 0x1\r\n\r\nx",
    POST + b"Content-Length: 1, 1\r\n\r\nx",
    POST + b"Content-Length: \xc2\xb2\r\n\r\nx",
    POST + b"Transfer-Encoding: gzip\r\n\r\n",
    POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n",
    GET + b"X: " + b"x" * 20_000 + b"\r\n\r\n",
    GET + b"X: y\r\n" * 5000 + b"\r\n",
]


@pytest.mark.parametrize("head", MALFORMED)
def test_malformed(head: bytes) -> None:
    """A head that is malformed or ambiguous is refused, and what follows it is
    not served: no request is smuggled."""
    talk = Conversation(answer)
    talk.send(head + GET + b"\r\n")
    talk.send(GET + b"\r\n")
    assert talk.requests == []
    assert talk.received().startswith(b"HTTP/1.1 400 ")
    assert talk.over


def test_refusal_has_a_date() -> None:
    """As all answers have (RFC 9110 section 6.6.1)."""
    talk = Conversation(answer)
    talk.send(POST + b"Content-Length: 1" + b"0" * 40 + b"\r\n\r\n")
    assert talk.received().startswith(b"HTTP/1.1 400 Bad Request\r\nDate: ")


@pytest.mark.parametrize(
    "chunk", [b"x\r\n", b"-1\r\n", b"1\r\nabc\r\n", b"f" * 5000, b"1;" + b"x" * 9999]
)
def test_malformed_chunks(chunk: bytes) -> None:
    """A body whose chunks are malformed ends the connection; nobody takes what
    came before for the whole."""
    talk = Conversation()
    talk.send(POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunk)
    talk.send(b"0\r\n\r\n" + GET + b"\r\n")
    assert talk.over
    assert len(talk.requests) == 1
    talk.leave()
    body = talk.read()
    while body == [b"a"]:
        body = talk.read()
    assert body != [b""]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (b"abc-123", True),
        (b"x" * 128, True),
        (b"x" * 129, False),
        (b"with space", False),
        (b"\xff", False),
        (b"", False),
    ],
)
def test_request_id(given: bytes, kept: bool) -> None:
    """A sane request ID is taken over; otherwise one is made. It is answered."""
    talk = Conversation(answer)
    talk.send(GET + b"X-Request-ID: " + given + b"\r\n\r\n")
    received = re.search(rb"X-Request-Id: (.*?)\r\n", talk.received(), re.IGNORECASE)
    assert received is not None
    assert (received[1] == given) == kept
    assert received[1].decode() == talk.requests[0].request_id


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/a?b=/c", b"/a"),
        (b"http://x/a", b"/a"),
        (b"HTTP://x:80/a/b?c", b"/a/b"),
        (b"http://x", b"/"),
        (b"/a%2Fb", b"/a%2Fb"),
    ],
)
def test_target(target: bytes, path: bytes) -> None:
    """The path is taken as it was sent, also from the absolute form."""
    talk = Conversation(answer)
    talk.send(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % target)
    assert talk.requests[0].path == path


def test_drain() -> None:
    """When the server stops, answers say that the connection ends; one that is
    silent is closed a moment later."""
    talk, silent = Conversation(), Conversation()
    talk.send(GET + b"\r\n")
    for each in (talk, silent):
        each.site.draining = True
        for channel in tuple(each.site._channels):
            channel.close_when_idle()
    answer(talk.requests[0])
    assert b"Connection: close\r\n" in talk.received()
    assert talk.over
    silent.clock.advance(IDLE_SECONDS)
    assert silent.over


def test_client_that_has_said_all() -> None:
    """A client that closes its side is answered first, all its requests, and then
    the connection ends."""
    talk = Conversation()
    talk.send((GET + b"\r\n") * 2)
    for n in range(2):
        talk.end()
        assert not talk.over
        answer(talk.requests[n])
    talk.end()
    assert talk.received().count(b"HTTP/1.1 204 ") == 2
    assert talk.over


@pytest.mark.parametrize(
    "part",
    [b"", GET],
    ids=["idle", "head"],
)
def test_client_that_ends_in_a_request(part: bytes) -> None:
    """A client that closes its side before it has asked for anything gets nothing."""
    talk = Conversation()
    talk.send(part)
    talk.end()
    assert talk.over
    assert talk.received() == b""
