"""Who is told of what within one process."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from qabel_block.errors import Unavailable
from qabel_block.interfaces import IListener, INotifier
from qabel_block.model import ChangeEvent, ObjectName
from qabel_block.push.events import format_event
from qabel_block.push.hub import GOING_AWAY, TRY_AGAIN_LATER, Hub


@implementer(INotifier)
@define(eq=False)
class Notifier:
    """Answers joins when it is told to."""

    calls: list[str] = field(factory=list)
    joins: list[Deferred[None]] = field(factory=list)
    listener: IListener | None = None

    def start(self, listener: IListener) -> None:
        self.listener = listener

    async def join(self, prefix: str) -> None:
        self.calls.append(f"join {prefix}")
        self.joins.append(Deferred())
        await self.joins[-1]

    def connections(self) -> int:
        return 0

    async def leave(self, prefix: str) -> None:
        self.calls.append(f"leave {prefix}")

    def publish(self, prefix: str, message: str) -> None:
        raise ZeroDivisionError

    async def check(self) -> None: ...

    async def close(self) -> None: ...


@define(eq=False)
class Subscriber:
    """Keeps what it is told."""

    prefix: str = "p"
    path: str | None = None
    told: list[str] = field(factory=list)
    ended: list[int] = field(factory=list)

    def tell(self, message: bytes) -> None:
        self.told.append(json.loads(message)["path"])

    def end(self, code: int, reason: str) -> None:
        self.ended.append(code)


def _hub() -> tuple[Hub, Notifier]:
    notifier = Notifier()
    hub = Hub(notifier)
    hub.start()
    return hub, notifier


def _add(hub: Hub, subscribers: Sequence[Subscriber]) -> list[object]:
    """Add some; return a list that gets an entry whenever one is added."""
    outcomes: list[object] = []
    for each in subscribers:
        added = Deferred.fromCoroutine(hub.add(each))
        added.addBoth(
            lambda it: outcomes.append(it.type if isinstance(it, Failure) else it)
        )
    return outcomes


def _deliver(hub: Hub, *paths: str, prefix: str = "p") -> None:
    for path in paths:
        event = ChangeEvent(ObjectName(prefix, path), '"e"')
        hub.deliver(prefix, format_event(event))


def test_one_join_for_all() -> None:
    """A prefix is joined for the first subscriber and left with the last; nobody
    counts as added before the join is done."""
    hub, notifier = _hub()
    first, second = Subscriber(), Subscriber(path="a")
    added = _add(hub, [first, second])
    assert added == []
    notifier.joins[0].callback(None)
    assert added == [None, None]
    assert _add(hub, [Subscriber()]) == [None]
    for subscriber in (*hub.subscribers(), first):
        Deferred.fromCoroutine(hub.remove(subscriber))
    assert notifier.calls == ["join p", "leave p"]


def test_a_join_that_fails() -> None:
    """If the prefix can't be joined, all who wait for it are told, and the next
    one tries again."""
    hub, notifier = _hub()
    added = _add(hub, [Subscriber(), Subscriber()])
    notifier.joins[0].errback(Unavailable("cache", "away"))
    assert added == [Unavailable, Unavailable]
    assert hub.subscribers() == []
    _add(hub, [Subscriber()])
    assert notifier.calls == ["join p", "leave p", "join p"]


def test_leaving_while_joining() -> None:
    """One that leaves while its prefix is joined leaves nothing behind, and takes
    nothing from one that comes in the meantime."""
    hub, notifier = _hub()
    first, second = Subscriber(), Subscriber()
    _add(hub, [first])
    Deferred.fromCoroutine(hub.remove(first))
    assert hub.subscribers() == []
    _add(hub, [second])
    assert notifier.calls == ["join p", "leave p", "join p"]
    notifier.joins[0].errback(Unavailable("cache", "away"))
    notifier.joins[1].callback(None)
    assert hub.subscribers() == [second]
    _deliver(hub, "a")
    assert second.told == ["p/a"]


def test_who_is_told() -> None:
    """One that listens to a prefix is told of everything below it, one that
    listens to an object of this object, and nobody of other prefixes."""
    hub, notifier = _hub()
    everything, one = Subscriber(), Subscriber(path="a")
    elsewhere = Subscriber(prefix="p2")
    _add(hub, [everything, one, elsewhere])
    for join in notifier.joins:
        join.callback(None)
    _deliver(hub, "a", "a/b", "b")
    _deliver(hub, "a", prefix="p3")
    assert everything.told == ["p/a", "p/a/b", "p/b"]
    assert one.told == ["p/a"]
    assert elsewhere.told == []


@pytest.mark.parametrize("path", ["blocks/a", "a/blocks", "a/myblocks/b"])
def test_blocks_are_quiet(path: str) -> None:
    """Nobody is told of paths that contain ``blocks``: they aren't published."""
    hub, _ = _hub()
    hub.publish(ChangeEvent(ObjectName("p", path), None))


def test_publishing_never_fails() -> None:
    """A notifier that breaks does not break the change it would tell of."""
    hub, _ = _hub()
    hub.publish(ChangeEvent(ObjectName("p", "a"), None))


def test_interruption_and_end() -> None:
    """Those who may have missed something are asked to come again, and all are
    told when the server goes."""
    hub, notifier = _hub()
    subscriber = Subscriber()
    _add(hub, [subscriber])
    notifier.joins[0].callback(None)
    hub.interrupted()
    hub.close()
    assert subscriber.ended == [TRY_AGAIN_LATER, GOING_AWAY]


def test_messages() -> None:
    """An event is one JSON object, whose path includes the prefix; a deletion
    has no ETag."""
    name = ObjectName("p", "a/b")
    assert json.loads(format_event(ChangeEvent(name, '"x"'))) == {
        "operation": "POST",
        "prefix": "p",
        "path": "p/a/b",
        "etag": '"x"',
    }
    assert json.loads(format_event(ChangeEvent(name, None))) == {
        "operation": "DELETE",
        "prefix": "p",
        "path": "p/a/b",
    }
