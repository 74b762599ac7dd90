"""Redis' protocol, with limits to what a server may send.

This module leans on the insides of txredisapi's ``BaseRedisProtocol``: it overrides
``lineReceived``, ``lineLengthExceeded`` and ``replyReceived``, calls
``clearLineBuffer``, and looks at ``replyQueue.waiting``. The class that reads with
hiredis has none of these, so it is not used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from txredisapi import BaseRedisProtocol
from txredisapi import ConnectionError as ConnectionFailed

log = Logger()

REPLY_BYTES = 256 * 1024
"""How long a reply or message may be, with all its parts; ours are far shorter."""

UNREADABLE = "Redis sends what can't be read"
TOO_LONG = "Redis sends too long a reply"
UNASKED = "Redis sends a reply that nobody waits for"
UNCONFIRMED = "Redis does not confirm a subscription"


class BadReply(Exception):
    """What a server sends is no reply, or not one to what was asked."""


class RedisConnection(BaseRedisProtocol):  # type: ignore[misc]
    """A connection that ends with the first thing that makes no sense: what comes
    behind it could be taken for the reply to another command.

    :ivar lost: why the connection was lost.
    :ivar fault: what was wrong with what the server sent, for an operator.
    """

    lost: Failure | None = None
    fault: str | None = None
    _received = 0

    def connectionLost(self, why: Failure) -> None:
        self.lost = why
        super().connectionLost(why)

    def dataReceived(self, data: bytes, unpause: bool = False) -> None:
        if self.fault is not None or not self.connected:
            return  # The parser goes on by itself after a pause.
        try:
            super().dataReceived(data, unpause)
        except BadReply as error:
            self.cut(str(error))
        except Exception as error:
            # Not its text, which may have a secret of the reply in it.
            self.cut(f"{UNREADABLE} ({type(error).__name__})")

    def cut(self, fault: str) -> None:
        """End the connection because of what the server sent."""
        log.warn("a connection is cut: {fault}", fault=fault)
        self.fault = fault
        self.clearLineBuffer()
        self.transport.abortConnection()

    def lineReceived(self, line: str) -> None:
        self._received += len(line) + 1
        match line[:1]:
            case "+" if line == "+QUEUED":  # In a transaction, of which there is none.
                raise BadReply(UNREADABLE)
            case "+" | "-":
                pass
            case ":":
                int(line[1:])
            case "$" | "*":
                announced = int(line[1:])
                if announced < -1:
                    raise BadReply(UNREADABLE)
                self._received += announced
            case _:
                raise BadReply(UNREADABLE)
        if self._received > REPLY_BYTES:
            raise BadReply(TOO_LONG)
        super().lineReceived(line)

    def lineLengthExceeded(self, _line: bytes) -> None:
        raise BadReply(TOO_LONG)

    def replyReceived(self, reply: object) -> None:
        self._received = 0
        if not self.replyQueue.waiting:
            raise BadReply(UNASKED)
        super().replyReceived(reply)


class RedisCommands(RedisConnection):
    """A connection for commands."""


class RedisSubscription(RedisConnection):
    """A connection on which messages are heard.

    :ivar heard: called with the channel and the text of each.
    """

    heard: Callable[[str, str], None]

    def subscribe(self, channel: str) -> Deferred[None]:
        """Hear what is published on a channel.

        The deferred fails with a ``RedisError`` if the server does not confirm that.
        """
        asked: Deferred[Any] = self.execute_command(
            "SUBSCRIBE", channel, apply_timeout=False
        )
        return asked.addCallback(self._confirm, channel)

    def unsubscribe(self, channel: str) -> Deferred[Any]:
        """Hear a channel no more."""
        asked: Deferred[Any] = self.execute_command("UNSUBSCRIBE", channel)
        return asked

    def replyReceived(self, reply: object) -> None:
        match reply:
            case ["message", str(channel), str(message)]:
                self._received = 0
                self.heard(channel, message)
            case ["message", _, _]:
                self._received = 0
                log.warn("a message is ignored: {error}", error="it is no text")
            case _:
                super().replyReceived(reply)

    def _confirm(self, answer: object, channel: str) -> None:
        match answer:
            case ["subscribe", str(confirmed), int()] if confirmed == channel:
                return
        self.cut(UNCONFIRMED)
        raise ConnectionFailed(UNCONFIRMED)
