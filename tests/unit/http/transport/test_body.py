"""The buffer between connection and upload."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from qabel_block.errors import ClientGone
from qabel_block.http.transport.body import RequestBody
from qabel_block.http.transport.interfaces import BODY_BUFFER_BYTES


@define
class Flow:
    """Records what the buffer tells the connection."""

    said: list[str] = field(factory=list)

    def go_ahead(self) -> None:
        self.said.append("go ahead")

    def pause(self) -> None:
        self.said.append("pause")

    def resume(self) -> None:
        self.said.append("resume")


def _read(body: RequestBody) -> Deferred[bytes]:
    return Deferred.fromCoroutine(body.read())


def _now(reading: Deferred[bytes]) -> bytes:
    assert reading.called
    results: list[bytes] = []
    reading.addCallback(results.append)
    return results[0]


def test_bytes_come_in_order() -> None:
    """What was fed is read once, in its order, and then the end for ever."""
    body = RequestBody(Flow())
    body.feed(b"a")
    body.feed(b"b")
    assert _now(_read(body)) == b"ab"
    reading = _read(body)
    assert not reading.called
    body.feed(b"c")
    assert _now(reading) == b"c"
    body.feed(b"d")
    body.end()
    assert _now(_read(body)) == b"d"
    assert _now(_read(body)) == b""
    assert _now(_read(body)) == b""


def test_go_ahead_when_read() -> None:
    """The client is told to go ahead by the first reading, not before."""
    flow = Flow()
    body = RequestBody(flow)
    assert flow.said == []
    _read(body)
    assert flow.said == ["go ahead"]


def test_full_buffer_pauses() -> None:
    """A full buffer pauses the connection until it is read."""
    flow = Flow()
    body = RequestBody(flow)
    body.feed(b"x" * (BODY_BUFFER_BYTES - 1))
    assert flow.said == []
    body.feed(b"x")
    assert flow.said == ["pause"]
    assert len(_now(_read(body))) == BODY_BUFFER_BYTES
    assert flow.said == ["pause", "resume"]


def test_lost_connection() -> None:
    """A lost connection ends a reading that waits, and those that follow."""
    body = RequestBody(Flow())
    reading = _read(body)
    body.lose()
    failures: list[Failure] = []
    reading.addErrback(failures.append)
    assert failures[0].check(ClientGone)
    again = _read(body)
    again.addErrback(failures.append)
    assert failures[1].check(ClientGone)


def test_lost_after_the_end() -> None:
    """A body that is complete can be read even if the client is gone."""
    body = RequestBody(Flow())
    body.feed(b"all")
    body.end()
    body.lose()
    assert _now(_read(body)) == b"all"
    assert _now(_read(body)) == b""


def test_discarding() -> None:
    """Once nobody wants it, nothing is kept and nothing paused."""
    flow = Flow()
    body = RequestBody(flow)
    body.feed(b"x" * BODY_BUFFER_BYTES)
    body.discard()
    body.feed(b"x" * BODY_BUFFER_BYTES)
    assert flow.said == ["pause", "resume"]
