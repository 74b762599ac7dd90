"""The service that ``twist`` and ``twistd`` start and stop."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from qabel_block.composition import Parts, compose
from qabel_block.config import Config
from qabel_block.listening import CannotListen
from qabel_block.shielding import shielded
from qabel_block.signals import stop_cleanly_on_sigterm

log = Logger()

DRAIN_SECONDS = 30.0
"""How long requests under way may go on when the server is stopped."""

CLOSE_SECONDS = 10.0
"""How long each part may take to end after that."""


def make_service(config: Config, reactor: Any) -> Service:
    """Return the server that ``config`` describes."""
    return BlockService(compose(config, reactor), reactor)


class BlockService(Service):
    """Starts and stops the parts in the right order."""

    def __init__(self, parts: Parts, reactor: Any) -> None:
        self._parts = parts
        self._reactor = reactor

    def startService(self) -> None:
        """Listen and start the parts, none of which needs to be reachable.

        :raises SystemExit: with one line that says so, if the server can't
            listen where it should.
        """
        super().startService()
        stop_cleanly_on_sigterm(self._reactor)
        self._parts.prepare()
        self._parts.threads.start()
        try:
            self._parts.listeners.start()
        except CannotListen as error:
            self._parts.threads.stop()
            raise SystemExit(f"qabel-block: {error}") from error
        Deferred.fromCoroutine(self._start()).addErrback(_broken)

    def stopService(self) -> Deferred[None]:
        """Stop listening, let requests under way finish within a limit, and
        end the parts, each after those that need it."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _start(self) -> None:
        await self._parts.cache.start()
        await self._parts.storage.start()
        await self._parts.database.start()
        self._parts.hub.start()
        self._parts.sockets.start()
        self._parts.traffic.start()
        self._parts.collector.start()

    async def _stop(self) -> None:
        parts = self._parts
        await parts.listeners.stop()
        log.info("stopping; requests under way have {seconds} s", seconds=DRAIN_SECONDS)
        parts.sockets.stop()
        await self._within(DRAIN_SECONDS, parts.site.drain())
        parts.site.abandon()
        for ending in (
            parts.traffic.stop(),
            parts.collector.stop(),
            parts.authenticator.close(),
            parts.cache.close(),
            parts.notifier.close(),
            parts.database.close(),
            parts.storage.close(),
        ):
            await self._within(CLOSE_SECONDS, ending)
        parts.threads.stop()

    async def _within(
        self, seconds: float, work: Coroutine[Deferred[Any], Any, Any]
    ) -> None:
        """Wait for something, but not for ever, and whatever comes of it."""
        await shielded(work).addTimeout(seconds, self._reactor).addErrback(_unfinished)


def _broken(failure: Any) -> None:
    log.failure("a part did not start", failure=failure)


def _unfinished(failure: Any) -> None:
    log.warn("a part did not end in time: {error}", error=failure.getErrorMessage())
