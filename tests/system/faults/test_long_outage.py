"""What comes back after an hour is used again as soon as after a second.

Only connections to Redis are made again without being asked for; everything
else is connected to when it is needed.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectError
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from txredisapi import RedisProtocol

from qabel_block.util.redis import RedisLink

HOUR = 3600.0
RECOVERY_SECONDS = 10.0


def test_redis_after_an_hour() -> None:
    """However long Redis has been away, the next attempt is never more than ten
    seconds off."""
    reactor: Any = MemoryReactorClock()
    link = RedisLink(reactor, "127.0.0.1", 6379, RedisProtocol, lambda _: None)
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
