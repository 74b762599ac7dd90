"""Push through Redis pub/sub."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from txredisapi import RedisError
from zope.interface import implementer

from qabel_block.errors import Unavailable
from qabel_block.interfaces import IListener, INotifier
from qabel_block.util.redis.address import RedisAddress
from qabel_block.util.redis.endpoint import REPLY_SECONDS
from qabel_block.util.redis.link import (
    PING_SECONDS,
    UNREACHABLE,
    Identity,
    RedisLink,
)
from qabel_block.util.redis.protocol import RedisCommands, RedisSubscription

log = Logger()

UNANSWERED_BYTES = 4 * 2**20
"""How much may be on its way to a Redis that does not answer."""

SPLIT = "what is published does not arrive"


@implementer(INotifier)
class RedisNotifier:
    """One connection to hear on and one to publish on, whatever is joined.

    Channels are joined by name, not by pattern: no prefix hears of another.

    Whoever may have missed something is told so: after the first connection is
    made again everybody here, after the second everybody everywhere, if
    something was published since push was last known to work. That is known when
    a message to this node arrives: the two connections may be to two servers.

    :param reactor: connects and tells the time.
    :param identity: the installation's id, which is in the names of all channels.
    :param changed: told when a connection is made or lost.
    """

    _listener: IListener

    def __init__(
        self,
        reactor: Any,
        address: RedisAddress,
        identity: Identity,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._reactor = reactor
        self._changed = changed
        self._node = str(uuid4())
        self._joined: set[str] = set()
        self._unanswered = 0
        self._published = 0
        self._confirmed = 0
        self._unpublished = False
        self._subscribed = False
        self._echoes: dict[str, Deferred[None]] = {}
        self._subscriber = RedisLink(
            reactor,
            address,
            identity,
            self._subscription,
            self._subscribe_all,
            self._subscriber_changed,
        )
        self._publisher = RedisLink(
            reactor,
            address,
            identity,
            RedisCommands,
            self._publish_interruption,
            self._publisher_changed,
        )
        self._probing = LoopingCall(lambda: Deferred.fromCoroutine(self._probe()))
        self._probing.clock = reactor

    def start(self, listener: IListener) -> None:
        """See :meth:`INotifier.start`."""
        self._listener = listener
        self._subscriber.start()
        self._publisher.start()
        self._probing.start(PING_SECONDS, now=False)

    async def join(self, prefix: str) -> None:
        """See :meth:`INotifier.join`."""
        protocol = self._subscriber.require()
        self._joined.add(prefix)
        try:
            await protocol.subscribe(self._channel(prefix))
        except RedisError as error:
            raise Unavailable("cache", "Redis did not answer") from error

    async def leave(self, prefix: str) -> None:
        """See :meth:`INotifier.leave`."""
        self._joined.discard(prefix)
        protocol = self._subscriber.protocol
        if protocol is not None:
            _ignore_answer(protocol.unsubscribe(self._channel(prefix)))

    def publish(self, prefix: str, message: str) -> None:
        """See :meth:`INotifier.publish`."""
        protocol = self._publisher.protocol
        if protocol is None or self._unanswered > UNANSWERED_BYTES:
            self._unpublished = True
            return
        size = len(message)
        self._unanswered += size
        self._published += 1
        answer: Deferred[object] = protocol.publish(self._channel(prefix), message)
        answer.addErrback(self._failed)
        answer.addCallback(lambda _: self._answered(size))

    def connections(self) -> int:
        """See :meth:`INotifier.connections`."""
        links = (self._subscriber, self._publisher)
        return sum(link.protocol is not None for link in links)

    async def check(self) -> None:
        """See :meth:`INotifier.check`: publishes a message to this node."""
        self._subscriber.require()
        if not self._subscribed:
            raise Unavailable("cache", "Redis has not answered SUBSCRIBE")
        await self._publisher.check()
        published, nonce = self._published, uuid4().hex
        heard = self._echoes[nonce] = Deferred()
        heard.addTimeout(REPLY_SECONDS, self._reactor)
        try:
            await self._publisher.run("PUBLISH", self._own_channel, nonce)
            await heard
        except TimedOut:
            self._subscriber.drop(SPLIT)
            self._publisher.drop(SPLIT)
            raise Unavailable("cache", SPLIT) from None
        finally:
            self._echoes.pop(nonce, None)
            heard.addErrback(lambda _: None).cancel()
        self._confirmed = published

    async def close(self) -> None:
        """See :meth:`INotifier.close`."""
        if self._probing.running:
            self._probing.stop()
        await self._subscriber.stop()
        await self._publisher.stop()

    @property
    def _interruptions(self) -> str:
        """The channel on which a node says that it could not publish for a while."""
        return f"{self._subscriber.namespace}push"

    @property
    def _own_channel(self) -> str:
        """The channel of this node. No prefix has a dot."""
        return f"{self._subscriber.namespace}push:node.{self._node}"

    def _channel(self, prefix: str) -> str:
        return f"{self._subscriber.namespace}push:{prefix}"

    def _subscription(self, **options: Any) -> RedisSubscription:
        protocol = RedisSubscription(**options)
        protocol.heard = self._on_message
        return protocol

    def _subscribe_all(self, protocol: Any) -> None:
        """Join everything on a new connection."""
        for prefix in self._joined:
            _ignore_answer(protocol.subscribe(self._channel(prefix)))
        _ignore_answer(protocol.subscribe(self._own_channel))
        # Answers come in order: after the last one nothing is missed any more.
        last: Deferred[object] = protocol.subscribe(self._interruptions)
        last.addCallbacks(lambda _: self._on_subscribed(), lambda _: None)

    def _on_subscribed(self) -> None:
        self._subscribed = True
        self._listener.interrupted()
        self._changed()

    def _on_message(self, channel: str, message: str) -> None:
        if channel == self._interruptions:
            self._listener.interrupted()
        elif channel == self._own_channel:
            heard = self._echoes.pop(message, None)
            if heard is not None:
                heard.callback(None)
        else:
            prefix = channel.rpartition(":")[2]
            if prefix in self._joined:
                self._listener.deliver(prefix, message)

    def _publish_interruption(self, protocol: Any) -> None:
        """Tell all nodes if events were lost while there was no connection."""
        if self._unpublished:
            self._unpublished = False
            answer: Deferred[object] = protocol.publish(self._interruptions, "")
            answer.addErrback(self._failed)

    def _subscriber_changed(self) -> None:
        if self._subscriber.protocol is None:
            self._subscribed = False
            if self._subscriber.reason != UNREACHABLE:
                # The server was there, but not everybody's: this may be so for long.
                self._listener.interrupted()
        self._changed()

    def _publisher_changed(self) -> None:
        if self._publisher.protocol is None:
            # What the server took may have reached nobody else.
            self._unpublished |= self._published > self._confirmed
            self._confirmed = self._published
            if self._publisher.reason != UNREACHABLE:
                self._subscriber.drop(self._publisher.reason)
        self._changed()

    async def _probe(self) -> None:
        try:
            await self.check()
        except Unavailable:
            pass
        except Exception:
            # Or nothing would be probed ever again.
            log.failure("push can't be checked")
            self._subscriber.drop(SPLIT)
            self._publisher.drop(SPLIT)

    def _answered(self, size: int) -> None:
        self._unanswered -= size

    def _failed(self, _failure: object) -> None:
        self._unpublished = True


def _ignore_answer(answer: Deferred[object]) -> None:
    """Let an answer come and not matter: a lost connection is noticed anyway."""
    answer.addErrback(lambda _: None)
