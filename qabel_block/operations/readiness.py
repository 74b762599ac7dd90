"""Asks the dependencies whether requests can be served now."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from qabel_block.errors import Unavailable
from qabel_block.util.cancellation import shield

log = Logger()

LIMIT = 5.0
"""Seconds within which a dependency must answer to count as ready."""

Check = Callable[[], Coroutine[Deferred[Any], Any, None]]


class Readiness:
    """Checks several dependencies at a time.

    Those who ask while it is being found out share the answer: however often
    somebody asks, a dependency is asked by one at a time.

    :param checks: for each dependency its name and what raises
        :class:`~qabel_block.errors.Unavailable` if it does not work.
    """

    def __init__(self, checks: Mapping[str, Check], clock: IReactorTime) -> None:
        self._checks = checks
        self._clock = clock
        self._waiting: list[Deferred[dict[str, str]]] = []

    async def failures(self) -> dict[str, str]:
        """Return for each dependency that does not work what was observed."""
        outcome: Deferred[dict[str, str]] = Deferred()
        self._waiting.append(outcome)
        if len(self._waiting) == 1:
            Deferred.fromCoroutine(self._find_out())
        return await outcome

    async def _find_out(self) -> None:
        running = {
            name: shield(check()).addTimeout(LIMIT, self._clock)
            for name, check in self._checks.items()
        }
        failures = {}
        for name, outcome in running.items():
            reason = await outcome.addCallbacks(lambda _: "", _reason)
            if reason:
                failures[name] = reason
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.called:  # cancelled
                one.callback(failures)


def _reason(failure: Any) -> str:
    if failure.check(Unavailable):
        return str(failure.value.reason)
    if failure.check(TimedOut):
        return f"does not answer within {LIMIT:.0f} s"
    log.failure("a readiness check is broken", failure=failure)
    return "can't be checked; see the log"
