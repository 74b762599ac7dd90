"""The service that ``twist`` and ``twistd`` start and stop."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger

from qabel_block.composition import Parts, compose
from qabel_block.config import Config
from qabel_block.listening import CannotListen
from qabel_block.shielding import shielded
from qabel_block.signals import handle_signals

log = Logger()

CLOSE_SECONDS = 10.0
"""How long each part may take to end after the requests under way."""


def make_service(config: Config, reactor: Any) -> Service:
    """Return the server that ``config`` describes."""
    return BlockService(compose(config, reactor), config.drain, reactor)


class BlockService(Service):
    """Starts and stops the parts in the right order.

    :param drain: seconds for which requests under way may go on at the end.
    """

    def __init__(self, parts: Parts, drain: float, reactor: Any) -> None:
        self._parts = parts
        self._drain = drain
        self._reactor = reactor

    def startService(self) -> None:
        """Listen and start the parts, none of which needs to be reachable.

        :raises SystemExit: with one line that says so, if the server can't
            listen where it should.
        """
        super().startService()
        handle_signals(self._reactor, self._hurry, self._reload)
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
        log.info("stopping; requests under way have {seconds} s", seconds=self._drain)
        await gatherResults(
            [
                self._within(CLOSE_SECONDS, parts.sockets.stop()),
                self._within(self._drain, parts.site.drain()),
            ]
        )
        parts.site.abandon()
        # What was cut off notices, and counts what it has sent.
        await self._within(CLOSE_SECONDS, parts.site.deserted())
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

    def _hurry(self) -> None:
        """Stop waiting for what is under way; the rest ends in good order."""
        log.warn("told again to stop: requests under way are cut off")
        self._parts.site.abandon()

    def _reload(self) -> None:
        """Nothing in this process is read again."""

    def _within(
        self, seconds: float, work: Coroutine[Deferred[Any], Any, Any]
    ) -> Deferred[Any]:
        """Wait for something, but not for ever, and whatever comes of it."""
        waiting = shielded(work).addTimeout(seconds, self._reactor)
        return waiting.addErrback(_unfinished)


def _broken(failure: Any) -> None:
    log.failure("a part did not start", failure=failure)


def _unfinished(failure: Any) -> None:
    log.warn("a part did not end in time: {error}", error=failure.getErrorMessage())
