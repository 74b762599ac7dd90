"""Work on one thing happens one after the other."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from qabel_block.errors import Unavailable
from qabel_block.util.keyed_lock import LIMIT, KeyedLock


class Work:
    """Notes when each piece of work begins; each ends when it is told to."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.turns = KeyedLock(self.clock)
        self.begun: list[str] = []
        self.failed: list[str] = []
        self._ends: dict[str, Deferred[None]] = {}
        self._running: dict[str, Deferred[None]] = {}

    def begin(self, name: str, thing: str = "a") -> None:
        def failed(failure: Failure) -> None:
            failure.trap(Unavailable, ZeroDivisionError, CancelledError)
            self.failed.append(name)

        running = Deferred.fromCoroutine(self._work(name, thing))
        self._running[name] = running.addErrback(failed)

    def cancel(self, name: str) -> None:
        self._running[name].cancel()

    def end(self, name: str) -> None:
        self._ends[name].callback(None)

    def break_off(self, name: str) -> None:
        self._ends[name].errback(ZeroDivisionError())

    async def _work(self, name: str, thing: str) -> None:
        async with self.turns.hold(thing):
            self.begun.append(name)
            self._ends[name] = Deferred()
            await self._ends[name]


def test_one_after_the_other() -> None:
    """Work on one thing begins in the order in which it came, each piece when the
    one before has ended, in whatever way."""
    work = Work()
    for name in ("1", "2", "3"):
        work.begin(name)
    assert work.begun == ["1"]
    work.break_off("1")
    assert work.begun == ["1", "2"]
    work.end("2")
    assert work.begun == ["1", "2", "3"]
    assert work.failed == ["1"]


def test_other_things() -> None:
    """Work on other things does not wait."""
    work = Work()
    work.begin("1", "a")
    work.begin("2", "b")
    assert work.begun == ["1", "2"]


def test_limit() -> None:
    """Nobody waits longer than a limit, and who gives up is passed over."""
    work = Work()
    for name in ("1", "2"):
        work.begin(name)
    work.clock.advance(LIMIT)
    work.begin("3")
    assert work.failed == ["2"]
    work.end("1")
    assert work.begun == ["1", "3"]


def test_nothing_stays() -> None:
    """When nobody works, nothing is remembered."""
    work = Work()
    for name in ("1", "2"):
        work.begin(name)
        work.end("1") if name == "2" else None
    work.end("2")
    assert work.turns._waiting == {}


def test_cancelled_while_waiting() -> None:
    """Who is cancelled while waiting is given no turn, and holds nobody up."""
    work = Work()
    for name in ("1", "2", "3", "4"):
        work.begin(name)
    work.cancel("2")
    work.cancel("3")
    assert work.failed == ["2", "3"]
    work.end("1")
    assert work.begun == ["1", "4"]
    work.end("4")
    work.begin("5")
    assert work.begun == ["1", "4", "5"]


def test_cancelled_while_working() -> None:
    """Work that is cancelled lets the next one begin."""
    work = Work()
    work.begin("1")
    work.begin("2")
    work.cancel("1")
    assert work.begun == ["1", "2"]
