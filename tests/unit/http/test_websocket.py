"""Sockets whose peers are gone, do not read, or are not there yet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import LogEvent, globalLogPublisher

from qabel_block.errors import NotOwner, Unavailable, UnknownUser
from qabel_block.http.websocket.socket import (
    CLOSE_SECONDS,
    MISSED_PINGS,
    PING_SECONDS,
    UNREAD_BYTES,
)
from qabel_block.http.websocket.sockets import (
    CHECK_SECONDS,
    CHECKED_TOGETHER,
    WebSockets,
)
from qabel_block.push.hub import GOING_AWAY, TRY_AGAIN_LATER, Hub
from qabel_block.push.memory import MemoryNotifier

PING, PONG = b"\x89\x00", b"\x8a\x80\0\0\0\0"


class Opened:
    """A socket on a transport in memory, open from :meth:`open` on."""

    def __init__(self) -> None:
        self.clock = Clock()
        hub = Hub(MemoryNotifier())
        hub.start()
        self.sockets = WebSockets(hub, self.clock)
        self.sockets.start()
        self.asked: list[Deferred[None]] = []
        self.answer: Exception | None = None
        self.socket = self.sockets.socket("p", None, self.check_access)
        self.transport = StringTransport()
        Deferred.fromCoroutine(hub.add(self.socket))
        self.hub = hub

    def open(self) -> None:
        self.socket.connectionMade(self.transport)

    async def check_access(self) -> None:
        if self.answer is not None:
            raise self.answer
        self.asked.append(Deferred())
        await self.asked[-1]

    def sent(self) -> bytes:
        data: bytes = self.transport.value()
        self.transport.clear()
        return data


@pytest.fixture
def opened() -> Opened:
    opened = Opened()
    opened.open()
    opened.transport.clear()
    return opened


def test_pings(opened: Opened) -> None:
    """A peer is asked for a sign of life every 30 seconds, and stays as long as
    it gives one."""
    for _ in range(10):
        opened.clock.advance(PING_SECONDS)
        assert opened.sent() == PING
        opened.socket.dataReceived(PONG)
    assert not opened.transport.disconnecting


def test_missed_pings(opened: Opened) -> None:
    """A peer that answers none of two is dropped."""
    for _ in range(MISSED_PINGS):
        opened.clock.advance(PING_SECONDS)
        assert not opened.transport.disconnected
    opened.clock.advance(PING_SECONDS)
    assert opened.transport.disconnected


@pytest.mark.parametrize("paused", [True, False])
def test_bound(opened: Opened, paused: bool) -> None:
    """What waits for a peer that does not read is bounded; one that reads may be
    told any amount."""
    if paused:
        opened.socket.pauseProducing()
    message = b"x" * 1000
    for _ in range(UNREAD_BYTES // len(message) + 1):
        opened.socket.tell(message)
    closed = b"\x88" in opened.sent()[-30:]
    assert closed == paused


def test_told_in_order_after_a_pause(opened: Opened) -> None:
    """What waited is sent, in order, as soon as the peer takes it."""
    opened.socket.pauseProducing()
    for message in (b"1", b"2"):
        opened.socket.tell(message)
    assert opened.sent() == b""
    opened.socket.resumeProducing()
    opened.socket.tell(b"3")
    assert opened.sent() == b"\x81\x011\x81\x012\x81\x013"


def test_told_before_it_is_open() -> None:
    """What happens during the handshake is told behind it."""
    opening = Opened()
    opening.hub.deliver("p", json.dumps({"path": "p/a"}))
    opening.open()
    assert opening.sent() == b'\x81\x0f{"path": "p/a"}'


def test_interrupted_before_it_is_open() -> None:
    """If events may have been missed during the handshake, it is closed behind it."""
    opening = Opened()
    opening.hub.interrupted()
    opening.hub.deliver("p", json.dumps({"path": "p/a"}))
    opening.open()
    frame = opening.sent()
    assert frame[:1] == b"\x88"
    assert int.from_bytes(frame[2:4], "big") == TRY_AGAIN_LATER


def test_server_stops_before_it_is_open() -> None:
    """A server that stops waits for a handshake to be done, and says goodbye."""
    opening = Opened()
    stopping = Deferred.fromCoroutine(opening.sockets.stop())
    opening.open()
    frame = opening.sent()
    assert int.from_bytes(frame[2:4], "big") == GOING_AWAY
    assert not stopping.called
    opening.socket.connectionLost()
    assert stopping.called


def test_client_leaves_before_it_is_open() -> None:
    """A client that leaves during the handshake is not told of, nor waited for."""
    opening = Opened()
    opening.socket.connectionLost()
    assert opening.hub.subscribers() == []
    assert Deferred.fromCoroutine(opening.sockets.stop()).called


def test_closing_is_answered(opened: Opened) -> None:
    """A closing frame is answered with its code, and the connection ends; a peer that
    does not take that is cut off."""
    opened.socket.dataReceived(b"\x88\x82\0\0\0\0\x03\xe8")
    assert opened.sent() == b"\x88\x02\x03\xe8"
    assert opened.transport.disconnecting
    assert not opened.transport.disconnected
    opened.clock.advance(CLOSE_SECONDS)
    assert opened.transport.disconnected


def test_closing_has_a_limit(opened: Opened) -> None:
    """A peer that does not answer a closing frame in time is cut off."""
    opened.hub.interrupted()
    assert not opened.transport.disconnecting
    opened.clock.advance(CLOSE_SECONDS)
    assert opened.transport.disconnected


def test_nothing_follows_the_closing_frame(opened: Opened) -> None:
    """Neither events nor pings nor pongs are sent behind it."""
    opened.socket.end(GOING_AWAY, "")
    opened.sent()
    opened.socket.tell(b"{}")
    opened.socket.ping()
    opened.socket.dataReceived(b"\x89\x80\0\0\0\0")
    opened.socket.end(TRY_AGAIN_LATER, "")
    assert opened.sent() == b""


def test_pings_of_a_peer_that_does_not_read(opened: Opened) -> None:
    """Of any number of pings only the last one is answered when it reads again."""
    opened.socket.pauseProducing()
    for text in (b"1", b"2", b"3"):
        opened.socket.dataReceived(b"\x89\x81\0\0\0\0" + text)
    assert opened.sent() == b""
    opened.socket.resumeProducing()
    assert opened.sent() == b"\x8a\x013"


def test_what_follows_an_error_is_dropped(opened: Opened) -> None:
    """Behind a frame that is none, nothing is kept or answered."""
    opened.socket.dataReceived(b"\x83\x80\0\0\0\0")
    assert opened.sent() == b"\x88\x02\x03\xea"
    for _ in range(100):
        opened.socket.dataReceived(b"\x89\x80\0\0\0\0" * 1000)
    assert opened.sent() == b""


@pytest.fixture
def logged() -> Iterator[list[LogEvent]]:
    """What is logged, as it comes."""
    events: list[LogEvent] = []
    observer: Any = events.append
    globalLogPublisher.addObserver(observer)
    yield events
    globalLogPublisher.removeObserver(observer)


@pytest.mark.parametrize("refusal", [UnknownUser(), NotOwner()])
def test_access_ends(opened: Opened, refusal: Exception) -> None:
    """A subscriber that may not listen any more hears that with 1008, and nothing
    else."""
    opened.clock.advance(CHECK_SECONDS)
    opened.asked.pop().callback(None)
    opened.answer = refusal
    assert opened.sent() == b""
    opened.clock.advance(CHECK_SECONDS)
    opened.socket.tell(b"{}")
    assert opened.sent() == b"\x88\x12\x03\xf0access has ended"


def test_access_is_not_known(opened: Opened) -> None:
    """While nobody can tell whether it still may listen, a subscriber does, and is
    asked for again."""
    opened.answer = Unavailable("database", "away")
    for _ in range(3):
        opened.clock.advance(CHECK_SECONDS)
    opened.socket.tell(b"{}")
    assert opened.sent() == b"\x81\x02{}"
    opened.answer = UnknownUser()
    opened.clock.advance(CHECK_SECONDS)
    assert opened.sent()[:1] == b"\x88"


def test_access_check_is_broken(opened: Opened, logged: list[LogEvent]) -> None:
    """Nobody listens whose access can't be checked for a reason that nobody knows."""
    opened.answer = ZeroDivisionError()
    for _ in range(3):
        opened.clock.advance(CHECK_SECONDS)
    assert opened.sent() == b"\x88\x02\x03\xf3"
    failures = [event for event in logged if "log_failure" in event]
    assert len(failures) == 1


def test_access_checks_are_bounded() -> None:
    """Of any number of sockets no more than a bound are asked for at a time, each once
    in a round."""
    opening = Opened()
    for _ in range(2 * CHECKED_TOGETHER):
        socket = opening.sockets.socket("p", None, opening.check_access)
        Deferred.fromCoroutine(opening.hub.add(socket))
        socket.connectionMade(StringTransport())
    opening.open()
    for count in (CHECKED_TOGETHER, CHECKED_TOGETHER, 1):
        opening.clock.advance(CHECK_SECONDS)
        assert len(opening.asked) == count
        asked, opening.asked = opening.asked, []
        for one in asked:
            one.callback(None)


@pytest.mark.parametrize("stops", [True, False])
def test_client_leaves_during_an_access_check(
    opened: Opened, logged: list[LogEvent], stops: bool
) -> None:
    """Of a socket that is gone nothing is asked any more."""
    opened.clock.advance(CHECK_SECONDS)
    (asked,) = opened.asked
    if stops:
        Deferred.fromCoroutine(opened.sockets.stop())
    opened.socket.connectionLost()
    assert asked.called
    assert not [event for event in logged if "log_failure" in event]
    Deferred.fromCoroutine(opened.sockets.stop())
    assert opened.clock.getDelayedCalls() == []
