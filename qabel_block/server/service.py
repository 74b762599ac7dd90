"""The service that ``twist`` and ``twistd`` start and stop."""

from __future__ import annotations

import gc
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.internet.task import deferLater
from twisted.logger import Logger

from qabel_block import __version__
from qabel_block.errors import CannotStart, StorageFull, Unavailable
from qabel_block.listening.endpoints import CannotListen
from qabel_block.server.composition import ServerParts
from qabel_block.server.directory_lock import DirectoryInUse
from qabel_block.server.lifecycle import Lifecycle, LifecycleCommands
from qabel_block.util.cancellation import shield

log = Logger()

START_SECONDS = 3.0
"""How long connections wait at the start for what their requests need. After
that they are accepted, whatever is missing."""

FIRST_USER_SECONDS = 0.5
"""How long to wait for the ledger before it is asked again whether there is a user."""

CLOSE_SECONDS = 10.0
"""How long each part may take to end after the requests under way."""


class BlockService(Service):
    """Starts and stops the parts in the right order.

    :param drain: seconds for which requests under way may go on at the end.
    :param greet: told of the URLs once connections are accepted.
    """

    def __init__(
        self,
        parts: ServerParts,
        control: Lifecycle,
        drain: float,
        reactor: Any,
        greet: Callable[[list[str]], None] = lambda _urls: None,
    ) -> None:
        self._parts = parts
        self._control = control
        self._drain = drain
        self._reactor = reactor
        self._greet = greet
        self._accepting = False

    def privilegedStartService(self) -> None:
        """Open the sockets while ``twistd`` still has its privileges.

        :raises SystemExit: with one line, if that can't be done.
        """
        super().privilegedStartService()
        self._open()

    def startService(self) -> None:
        """Listen and start the parts, none of which needs to be reachable.

        :raises SystemExit: with one line that says so, if the server can't
            listen where it should, or not use its SQLite ledger.
        """
        super().startService()
        log.info(
            "qabel-block {version} on {reactor}",
            version=__version__,
            reactor=type(self._reactor).__name__,
        )
        self._control.start(LifecycleCommands(self._abort_inflight, self._reload))
        self._lock_directory()
        self._open()
        if self._parts.buffered is not None:
            self._parts.buffered.start(self._reactor)
        try:
            self._parts.prepare()
        except CannotStart as error:
            raise SystemExit(f"qabel-block: {error}") from error
        self._parts.threads.start()
        self._parts.hashing.start()
        Deferred.fromCoroutine(self._start()).addErrback(_broken)

    def stopService(self) -> Deferred[None]:
        """Stop listening, let requests under way finish within a limit, and
        end the parts, each after those that need it."""
        super().stopService()
        self._control.stopping()
        return Deferred.fromCoroutine(self._stop())

    def _lock_directory(self) -> None:
        if self._parts.directory_lock is None:
            return
        try:
            self._parts.directory_lock.acquire()
        except (DirectoryInUse, OSError) as error:
            raise SystemExit(f"qabel-block: {error}") from error

    def _open(self) -> None:
        try:
            self._parts.listeners.open()
        except CannotListen as error:
            raise SystemExit(f"qabel-block: {error}") from error

    async def _start(self) -> None:
        starting = shield(self._start_parts())
        await starting.addTimeout(START_SECONDS, self._reactor).addErrback(_not_yet)
        self._accepting = True
        # What is here now stays, and there is much of it: the garbage collector
        # need not look through it again and again while requests wait.
        gc.collect()
        gc.freeze()
        if self.running:
            self._parts.listeners.start()
            self._control.ready()
            self._greet(self._parts.listeners.urls())

    async def _start_parts(self) -> None:
        parts = self._parts
        await parts.database.start()
        parts.hub.start()
        parts.sockets.start()
        parts.traffic.start()
        await parts.cache.start()
        if self.running:
            parts.collector.start()
        making = shield(self._make_first_user()).addErrback(_broken)
        while not self._accepting and await self._missing():
            await deferLater(self._reactor, 0.05)
        if not self._accepting:
            await making
        if self.running:
            parts.readiness.start()
            # Whoever samples metrics checks all dependencies.
            begin = parts.sampler.start if parts.sampler else parts.readiness.watch
            begin()
            if parts.user_sampler:
                parts.user_sampler.start()

    async def _make_first_user(self) -> None:
        while self.running:
            try:
                await self._parts.make_first_user()
                return
            except (Unavailable, StorageFull):
                await deferLater(self._reactor, FIRST_USER_SECONDS)

    async def _missing(self) -> bool:
        """Say whether something is missing, but perhaps the accounting server: the
        server does not ask it at each of its starts."""
        report = await self._parts.readiness.report(foreign=False)
        return bool(report.missing)

    async def _stop(self) -> None:
        parts = self._parts
        if parts.sampler is not None:
            parts.sampler.stop()
        if parts.user_sampler is not None:
            parts.user_sampler.stop()
        parts.readiness.stop()
        await parts.listeners.stop()
        log.info("stopping; requests under way have {seconds:g} s", seconds=self._drain)
        await gatherResults(
            [
                self._within(CLOSE_SECONDS, parts.sockets.stop()),
                self._within(self._drain, parts.site.drain()),
            ]
        )
        parts.site.abort_connections()
        # What was cut off notices, and counts what it has sent.
        await self._within(CLOSE_SECONDS, parts.site.wait_closed())
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
        parts.hashing.stop()
        if parts.directory_lock is not None:
            parts.directory_lock.release()
        if parts.buffered is not None:
            parts.buffered.stop()

    def _abort_inflight(self) -> None:
        """Stop waiting for what is under way; the rest ends in good order."""
        log.warn("told again to stop: requests under way are cut off")
        self._parts.site.abort_connections()

    async def _reload(self) -> None:
        self._parts.listeners.reload()

    def _within(
        self, seconds: float, work: Coroutine[Deferred[Any], Any, Any]
    ) -> Deferred[Any]:
        """Wait for something, but not for ever, and whatever comes of it."""
        waiting = shield(work).addTimeout(seconds, self._reactor)
        return waiting.addErrback(_unfinished)


def _broken(failure: Any) -> None:
    log.failure("a part did not start", failure=failure)


def _not_yet(failure: Any) -> None:
    if failure.check(TimedOut):
        log.warn("not everything is there yet that requests need; see /readyz")
    else:
        log.failure("a part did not start", failure=failure)


def _unfinished(failure: Any) -> None:
    log.warn("a part did not end in time: {error}", error=failure.getErrorMessage())
