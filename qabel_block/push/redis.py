"""Push through Redis pub/sub."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from txredisapi import RedisError, RedisProtocol, SubscriberProtocol
from zope.interface import implementer

from qabel_block.errors import Unavailable
from qabel_block.interfaces import IListener, INotifier
from qabel_block.util.redis import RedisLink

log = Logger()

CHANNELS = "qabel-block:push:"
"""What the names of our channels begin with. The prefix follows, whole, and
channels are joined by name, not by pattern: no prefix hears of another."""

INTERRUPTIONS = "qabel-block:push"
"""The channel on which a node says that it could not publish for a while. It is
no prefix's: those have a colon more."""

UNANSWERED_BYTES = 4 * 2**20
"""How much may be on its way to a Redis that does not answer."""


@implementer(INotifier)
class RedisNotifier:
    """One connection to hear on and one to publish on, whatever is joined.

    Whoever may have missed something is told so: after the first connection is
    made again everybody here, after the second everybody everywhere, if
    something was to be published meanwhile.

    :param reactor: connects and tells the time.
    """

    _listener: IListener

    def __init__(self, reactor: Any, host: str, port: int) -> None:
        self._joined: set[str] = set()
        self._unanswered = 0
        self._unpublished = False
        self._hearing = RedisLink(reactor, host, port, self._subscriber, self._hear)
        self._speaking = RedisLink(reactor, host, port, RedisProtocol, self._speak)

    def start(self, listener: IListener) -> None:
        """See :meth:`INotifier.start`."""
        self._listener = listener
        self._hearing.start()
        self._speaking.start()

    async def join(self, prefix: str) -> None:
        """See :meth:`INotifier.join`."""
        protocol = self._hearing.require()
        self._joined.add(prefix)
        try:
            await protocol.subscribe(CHANNELS + prefix)
        except RedisError as error:
            raise Unavailable("cache", "Redis did not answer") from error

    async def leave(self, prefix: str) -> None:
        """See :meth:`INotifier.leave`."""
        self._joined.discard(prefix)
        protocol = self._hearing.protocol
        if protocol is not None:
            _unheeded(protocol.unsubscribe(CHANNELS + prefix))

    def publish(self, prefix: str, message: str) -> None:
        """See :meth:`INotifier.publish`."""
        protocol = self._speaking.protocol
        if protocol is None or self._unanswered > UNANSWERED_BYTES:
            self._unpublished = True
            return
        size = len(message)
        self._unanswered += size
        answer: Deferred[object] = protocol.publish(CHANNELS + prefix, message)
        answer.addErrback(self._failed)
        answer.addCallback(lambda _: self._answered(size))

    def connections(self) -> int:
        """See :meth:`INotifier.connections`."""
        links = (self._hearing, self._speaking)
        return sum(link.protocol is not None for link in links)

    async def check(self) -> None:
        """See :meth:`INotifier.check`."""
        try:
            await self._hearing.require().ping()
            await self._speaking.require().ping()
        except RedisError as error:
            raise Unavailable("cache", "Redis did not answer") from error

    async def close(self) -> None:
        """See :meth:`INotifier.close`."""
        await self._hearing.stop()
        await self._speaking.stop()

    def _subscriber(self, **options: Any) -> SubscriberProtocol:
        protocol = _Subscriber(**options)
        protocol.heard = self._heard
        return protocol

    def _hear(self, protocol: Any) -> None:
        """Join everything on a new connection."""
        joining = [INTERRUPTIONS, *(CHANNELS + prefix for prefix in self._joined)]
        for channel in joining[:-1]:
            _unheeded(protocol.subscribe(channel))
        # Answers come in order: after the last one nothing is missed any more.
        last: Deferred[object] = protocol.subscribe(joining[-1])
        last.addCallbacks(lambda _: self._listener.interrupted(), lambda _: None)

    def _heard(self, channel: str, message: str) -> None:
        if channel == INTERRUPTIONS:
            self._listener.interrupted()
        elif channel.startswith(CHANNELS):
            prefix = channel.removeprefix(CHANNELS)
            if prefix in self._joined:
                self._listener.deliver(prefix, message)

    def _speak(self, protocol: Any) -> None:
        """Own up to what was not published while there was no connection."""
        if self._unpublished:
            self._unpublished = False
            answer: Deferred[object] = protocol.publish(INTERRUPTIONS, "")
            answer.addErrback(self._failed)

    def _answered(self, size: int) -> None:
        self._unanswered -= size

    def _failed(self, _failure: object) -> None:
        self._unpublished = True


class _Subscriber(SubscriberProtocol):  # type: ignore[misc]
    """Passes messages on."""

    heard: Any

    def messageReceived(self, _pattern: object, channel: str, message: str) -> None:
        self.heard(channel, message)


def _unheeded(answer: Deferred[object]) -> None:
    """Let an answer come and not matter: a lost connection is noticed anyway."""
    answer.addErrback(lambda _: None)
