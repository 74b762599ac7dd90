"""What is spoken on a port that expects something else."""

from __future__ import annotations

import pytest
from twisted.internet.interfaces import IProtocolFactory
from twisted.protocols.haproxy._wrapper import HAProxyWrappingFactory

from qabel_block.http.transport.site import BlockSite
from qabel_block.util.proxy_protocol import detect_missing_headers
from tests.unit.http.transport.conversation import Conversation, answer

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
CLIENT_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(32))
V1 = b"PROXY TCP4 192.0.2.7 192.0.2.1 5555 443\r\n"
V2 = (
    b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c"
    b"\xc0\x00\x02\x07\xc0\x00\x02\x01\x15\xb3\x01\xbb"
)


def behind_proxy(site: BlockSite) -> IProtocolFactory:
    factory = HAProxyWrappingFactory(site)
    detect_missing_headers(factory)
    return factory


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (CLIENT_HELLO, b"TLS"),
        (CLIENT_HELLO[:1], b"TLS"),
        (b"\x80\x2e\x01\x03\x01", b"something else"),
        (b"\0\0\0\x24SSH", b"something else"),
    ],
)
def test_no_http(data: bytes, named: bytes) -> None:
    """What can't be HTTP is answered at once, in words."""
    talk = Conversation()
    talk.send(data)
    received = talk.received()
    assert received.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    head, _, text = received.partition(b"\r\n\r\n")
    assert b"Content-Type: text/plain\r\n" in head
    assert b"Content-Length: %d\r\n" % len(text) in head + b"\r\n"
    assert text == b"This port expects HTTP, but there is %s.\n" % named
    assert talk.over
    assert talk.requests == []


@pytest.mark.parametrize("data", [GET, CLIENT_HELLO, b"\r\n", b"x"])
def test_no_proxy_header(data: bytes) -> None:
    """On a port for the PROXY protocol nothing is served without it."""
    talk = Conversation(answer, wrap=behind_proxy)
    talk.send(data)
    talk.send(GET)
    received = talk.received()
    if data == b"\r\n":  # as version 2 begins
        assert received.startswith(b"HTTP/1.1 400 ")
    assert received.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert received.endswith(b"expects a PROXY header, but there is something else.\n")
    assert received.count(b"HTTP/1.1") == 1
    assert talk.over
    assert talk.requests == []


@pytest.mark.parametrize("header", [V1, V2])
@pytest.mark.parametrize("size", [1, 7, 12, 15, 100])
def test_proxy_header_in_pieces(header: bytes, size: int) -> None:
    """A header may come in pieces, and names the client."""
    talk = Conversation(answer, wrap=behind_proxy)
    whole = header + GET
    for start in range(0, len(whole), size):
        talk.send(whole[start : start + size])
    (request,) = talk.requests
    assert request.client == "192.0.2.7"
    assert talk.received().startswith(b"HTTP/1.1 204 ")
