"""What every INotifier does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from uuid import uuid4

import pytest
import pytest_twisted
from attrs import define, field, frozen
from prometheus_client import CollectorRegistry
from twisted.internet import reactor
from zope.interface import implementer
from zope.interface.verify import verifyObject

from qabel_block.errors import Unavailable
from qabel_block.interfaces import IListener, INotifier
from qabel_block.metrics.definitions import Metrics
from qabel_block.metrics.push import MeasuredNotifier
from qabel_block.push.memory import MemoryNotifier
from qabel_block.push.redis import RedisNotifier
from tests.support.clocks import sleep, until
from tests.support.valkey import installation, redis_at

IMPLEMENTATIONS = {
    "memory": MemoryNotifier,
    "redis": RedisNotifier,
    "measured": MeasuredNotifier,
}


@implementer(IListener)
@define
class Listener:
    """Keeps what it hears."""

    heard: list[tuple[str, str]] = field(factory=list)
    interruptions: int = 0

    def deliver(self, prefix: str, message: str) -> None:
        self.heard.append((prefix, message))

    def interrupted(self) -> None:
        self.interruptions += 1


@frozen
class Subject:
    """A notifier and its listener.

    :ivar other: one of another node, or the same if there is but one node.
    """

    notifier: INotifier
    listener: Listener
    other: INotifier

    async def hears(self, *messages: tuple[str, str]) -> None:
        """Wait until the listener has heard just these."""
        await until(lambda: len(self.listener.heard) >= len(messages))
        assert self.listener.heard == list(messages)


async def _started(new: Callable[[], INotifier]) -> tuple[INotifier, Listener]:
    notifier, listener = new(), Listener()
    notifier.start(listener)
    while True:
        try:
            await notifier.check()
            return notifier, listener
        except Unavailable:
            await sleep(0.05)


@pytest_twisted.async_yield_fixture(params=IMPLEMENTATIONS)
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    if request.param == "memory":
        notifier, listener = await _started(MemoryNotifier)
        other = notifier
    elif request.param == "measured":
        metrics = Metrics(CollectorRegistry())
        notifier, listener = await _started(
            lambda: MeasuredNotifier(MemoryNotifier(), metrics)
        )
        other = notifier
    else:
        host, port = request.getfixturevalue("redis_address")

        def new() -> RedisNotifier:
            return RedisNotifier(reactor, redis_at(port, host), installation)

        notifier, listener = await _started(new)
        other, _ = await _started(new)
        await until(lambda: listener.interruptions)
    yield Subject(notifier, listener, other)
    await notifier.close()
    if other is not notifier:
        await other.close()


@pytest.fixture
def p() -> str:
    """A prefix nobody else uses."""
    return uuid4().hex


@pytest_twisted.ensureDeferred
async def test_interface(subject: Subject) -> None:
    """It has all methods."""
    assert verifyObject(INotifier, subject.notifier)


@pytest_twisted.ensureDeferred
async def test_from_all_nodes(subject: Subject, p: str) -> None:
    """What any node publishes for a prefix that was joined is delivered once."""
    await subject.notifier.join(p)
    subject.notifier.publish(p, "own")
    await subject.hears((p, "own"))
    subject.other.publish(p, "other's \u00e4")
    await subject.hears((p, "own"), (p, "other's \u00e4"))


@pytest_twisted.ensureDeferred
async def test_order(subject: Subject, p: str) -> None:
    """Messages of one node arrive in the order in which they were published."""
    await subject.notifier.join(p)
    messages = [(p, str(n)) for n in range(500)]
    for message in messages:
        subject.other.publish(*message)
    await subject.hears(*messages)


@pytest_twisted.ensureDeferred
async def test_other_prefixes(subject: Subject, p: str) -> None:
    """Nothing is delivered for a prefix that was not joined, even if the name of
    one is the beginning of the other, or looks like a pattern."""
    await subject.notifier.join(p)
    for other in (p + "0", p[:-1], "*", p.upper(), ""):
        subject.other.publish(other, "not for us")
    subject.other.publish(p, "for us")
    await subject.hears((p, "for us"))


@pytest_twisted.ensureDeferred
async def test_leaving(subject: Subject, p: str) -> None:
    """After leaving nothing is delivered, until the prefix is joined again."""
    still = p + "still"
    for prefix in (p, still):
        await subject.notifier.join(prefix)
    await subject.notifier.leave(p)
    await subject.notifier.leave(p)
    subject.notifier.publish(p, "missed")
    subject.notifier.publish(still, "heard")
    await subject.hears((still, "heard"))
    await subject.notifier.join(p)
    subject.notifier.publish(p, "heard again")
    await subject.hears((still, "heard"), (p, "heard again"))


@pytest_twisted.ensureDeferred
async def test_connections(redis_address: tuple[str, int]) -> None:
    """Connections to a broker are counted while they are there."""
    host, port = redis_address
    notifier, _ = await _started(
        lambda: RedisNotifier(reactor, redis_at(port, host), installation)
    )
    assert notifier.connections() == 2
    await notifier.close()
    assert notifier.connections() == 0
    assert MemoryNotifier().connections() == 0
