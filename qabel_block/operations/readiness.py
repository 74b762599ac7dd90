"""Asks the dependencies whether requests can be served now (``/readyz``)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from attrs import field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from qabel_block.errors import Unavailable
from qabel_block.util.cancellation import shield
from qabel_block.util.event import Waiters

log = Logger()

LIMIT = 5.0
"""Seconds within which a dependency must answer to count as working."""

INTERVAL = 10.0
"""Seconds between two checks that nobody has asked for."""

Check = Callable[[], Coroutine[Deferred[Any], Any, None]]


@frozen
class Dependency:
    """Something outside of this process that requests need.

    :ivar check: raises :class:`~qabel_block.errors.Unavailable` if it does not
        work.
    :ivar required: whether no upload or download works without it.
    :ivar foreign: whether a check is a request to somebody else's server.
    """

    check: Check
    required: bool = True
    foreign: bool = False


@frozen
class ReadinessReport:
    """Which dependencies do not work, and what was observed, by their names.

    :ivar failed: those without which uploads and downloads fail.
    :ivar degraded: the others.
    """

    failed: Mapping[str, str] = field(factory=dict)
    degraded: Mapping[str, str] = field(factory=dict)

    @property
    def ready(self) -> bool:
        """Whether uploads and downloads work."""
        return not self.failed

    @property
    def missing(self) -> dict[str, str]:
        """All that do not work."""
        return {**self.failed, **self.degraded}


class Readiness:
    """Checks the dependencies, and logs once when one fails or works again.

    Concurrent callers share a check: each dependency is asked by one at a time.

    :param dependencies: by the names that ``/readyz`` has for them.
    """

    def __init__(
        self, dependencies: Mapping[str, Dependency], clock: IReactorTime
    ) -> None:
        self._dependencies = dependencies
        self._clock = clock
        self._waiters: dict[str, Waiters[str]] = {}
        self._failing: set[str] = set()
        self._logging = False
        self._loop = LoopingCall(self._watch)
        self._loop.clock = clock

    def start(self) -> None:
        """Begin to log changes; until now a dependency may not have been connected
        to yet."""
        self._logging = True

    def watch(self) -> None:
        """Check at intervals, so that changes are logged when nobody asks."""
        self._loop.start(INTERVAL)

    def stop(self) -> None:
        """End what ``watch`` began."""
        if self._loop.running:
            self._loop.stop()

    async def report(self, foreign: bool = True) -> ReadinessReport:
        """Check the dependencies.

        :param foreign: whether those of which a check costs somebody else.
        """
        asked = {
            name: self._reason(name)
            for name, dependency in self._dependencies.items()
            if foreign or not dependency.foreign
        }
        reasons = {name: await asking for name, asking in asked.items()}
        self._log_changes(reasons)
        failed: dict[str, str] = {}
        degraded: dict[str, str] = {}
        for name, reason in reasons.items():
            if reason:
                required = self._dependencies[name].required
                (failed if required else degraded)[name] = reason
        return ReadinessReport(failed, degraded)

    def recheck(self) -> None:
        """Check because something may have changed; it is logged."""
        if self._logging:
            self._watch()

    def _watch(self) -> Deferred[ReadinessReport]:
        return Deferred.fromCoroutine(self.report(foreign=False))

    def _reason(self, name: str) -> Deferred[str]:
        """Check one, or join a check that is under way.

        :return: what was observed; empty if it works.
        """
        if name in self._waiters:
            return self._waiters[name].wait()
        waiters = self._waiters[name] = Waiters()
        outcome = waiters.wait()
        checking = shield(self._dependencies[name].check())
        checking.addTimeout(LIMIT, self._clock)
        reason: Deferred[str] = checking.addCallbacks(lambda _: "", _observed)
        reason.addCallback(self._found, name)
        return outcome

    def _found(self, reason: str, name: str) -> None:
        self._waiters.pop(name).wake(reason)

    def _log_changes(self, reasons: Mapping[str, str]) -> None:
        """Log what has changed, in one line what has one reason."""
        if not self._logging:
            return
        changed: dict[str, list[str]] = {}
        for name, reason in reasons.items():
            if bool(reason) != (name in self._failing):
                self._failing ^= {name}
                changed.setdefault(reason, []).append(name)
        for reason, names in changed.items():
            if reason:
                required = any(self._dependencies[name].required for name in names)
                log.warn(
                    "not working: {names} ({reason}); the server is {state}",
                    names=", ".join(names),
                    reason=reason,
                    state="not ready" if required else "degraded",
                )
            else:
                log.info("working again: {names}", names=", ".join(names))


def _observed(failure: Any) -> str:
    if failure.check(Unavailable):
        return str(failure.value.reason)
    if failure.check(TimedOut):
        return f"does not answer within {LIMIT:.0f} s"
    log.failure("a readiness check is broken", failure=failure)
    return "can't be checked; see the log"
