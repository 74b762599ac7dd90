"""What comes back after an hour is used again as soon as after a second.

Only connections to Redis are made again without being asked for; everything
else is connected to when it is needed.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from qabel_block.util.redis.link import RedisLink
from qabel_block.util.redis.protocol import RedisCommands
from tests.support.valkey import installation, redis_at

HOUR = 3600.0
RECOVERY_SECONDS = 10.0


def test_redis_after_an_hour() -> None:
    """However long Redis has been away, the next attempt is never more than ten
    seconds off."""
    reactor: Any = MemoryReactorClock()
    link = RedisLink(reactor, redis_at(6379), installation, RedisCommands)
    link.start()
    last = reactor.seconds()
    attempts = 0
    while reactor.seconds() < HOUR:
        reactor.advance(0.5)
        for _host, _port, factory, *_ in reactor.tcpClients:
            attempts += 1
            last = reactor.seconds()
            factory.clientConnectionFailed(None, Failure(ConnectError()))
        reactor.tcpClients.clear()
        assert reactor.seconds() - last < RECOVERY_SECONDS
    assert attempts > HOUR / RECOVERY_SECONDS
    Deferred.fromCoroutine(link.stop())
