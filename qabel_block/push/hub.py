"""Delivers events to the subscribers of this process."""

from __future__ import annotations

from typing import Protocol

from attrs import define, field
from twisted.logger import Logger
from zope.interface import implementer

from qabel_block.interfaces import IListener, INotifier
from qabel_block.model import ChangeEvent
from qabel_block.push.events import format_event, read_path
from qabel_block.util.event import Waiters

log = Logger()

GOING_AWAY = 1001
TRY_AGAIN_LATER = 1013
"""Close codes (RFC 6455 section 7.4.1 and the IANA registry)."""


def is_quiet(path: str) -> bool:
    """Say whether nobody is told of changes of this path: it is a block's."""
    return "blocks" in path


class Subscriber(Protocol):
    """The receiver of events at the other end of a WebSocket."""

    @property
    def prefix(self) -> str:
        """Whose changes to tell."""

    @property
    def path(self) -> str | None:
        """The one object to tell of; ``None`` for all that are not quiet."""

    def tell(self, message: bytes) -> None:
        """Take an event."""

    def end(self, code: int, reason: str) -> None:
        """Close the socket."""


@define
class _PrefixSubscribers:
    """The subscribers of one prefix.

    :ivar joined: whether the notifier brings the prefix's messages.
    :ivar joining: those who came while it was asked to.
    """

    subscribers: set[Subscriber] = field(factory=set)
    joined: bool = False
    joining: Waiters[None] = field(factory=Waiters)


@implementer(IListener)
class Hub:
    """Passes events between this process' operations and its sockets."""

    def __init__(self, notifier: INotifier) -> None:
        self._notifier = notifier
        self._prefixes: dict[str, _PrefixSubscribers] = {}

    def start(self) -> None:
        """Begin to hear from other nodes."""
        self._notifier.start(self)

    def publish(self, event: ChangeEvent) -> None:
        """Tell whom it concerns, everywhere. Neither waits nor raises."""
        if is_quiet(event.name.path):
            return
        try:
            self._notifier.publish(event.name.prefix, format_event(event))
        except Exception:
            log.failure("an event could not be published")

    async def add(self, subscriber: Subscriber) -> None:
        """Tell a subscriber of what happens from now on.

        :raises Unavailable: if that can't be had now.
        """
        listening = self._prefixes.get(subscriber.prefix)
        if listening is None:
            listening = self._prefixes[subscriber.prefix] = _PrefixSubscribers(
                {subscriber}
            )
            await self._join(listening, subscriber.prefix)
            return
        listening.subscribers.add(subscriber)
        if not listening.joined:
            await listening.joining.wait()

    async def _join(self, listening: _PrefixSubscribers, prefix: str) -> None:
        """Have a prefix's messages brought, for all who wait for that."""
        try:
            await self._notifier.join(prefix)
        except Exception as error:
            if self._prefixes.get(prefix) is listening:
                del self._prefixes[prefix]
                await self._notifier.leave(prefix)
            listening.joining.fail(error)
            raise
        listening.joined = True
        listening.joining.wake(None)

    async def remove(self, subscriber: Subscriber) -> None:
        """Tell a subscriber nothing more. May be repeated."""
        listening = self._prefixes.get(subscriber.prefix)
        if listening is None or subscriber not in listening.subscribers:
            return
        listening.subscribers.discard(subscriber)
        if not listening.subscribers:
            del self._prefixes[subscriber.prefix]
            await self._notifier.leave(subscriber.prefix)

    def subscribers(self) -> list[Subscriber]:
        """Return all that are here now."""
        return [
            one
            for listening in self._prefixes.values()
            for one in listening.subscribers
        ]

    def deliver(self, prefix: str, message: str) -> None:
        """See :meth:`IListener.deliver`."""
        listening = self._prefixes.get(prefix)
        if listening is None:
            return
        try:
            path = read_path(prefix, message)
        except ValueError as error:
            # Whoever can publish may publish anything.
            log.warn("a message is ignored: {error}", error=str(error))
            return
        payload = message.encode("utf-8")
        for subscriber in tuple(listening.subscribers):
            if subscriber.path in (None, path):
                self._tell(subscriber, payload)

    def _tell(self, subscriber: Subscriber, payload: bytes) -> None:
        """Tell one, and the others whatever comes of that."""
        try:
            subscriber.tell(payload)
        except Exception:
            log.failure("a subscriber could not be told")

    def interrupted(self) -> None:
        """See :meth:`IListener.interrupted`."""
        for subscriber in self.subscribers():
            subscriber.end(TRY_AGAIN_LATER, "events may have been missed")

    def close(self) -> None:
        """Say goodbye to all subscribers: this process ends."""
        for subscriber in self.subscribers():
            subscriber.end(GOING_AWAY, "the server is going away")
