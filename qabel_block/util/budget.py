"""One limit on all that a request waits for (15 seconds).

Each dependency has a limit of its own; one after the other they would add up. So
a request has a budget, of which every wait takes what is left. It is in the
context (:mod:`contextvars`), which Twisted keeps for each coroutine: whatever a
handler calls finds it. What serves several requests at once, such as a batch, has
none, and neither has work that goes on by itself.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, NoReturn, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from qabel_block.errors import Unavailable
from qabel_block.util.cancellation import shield

T = TypeVar("T")

REQUEST_SECONDS = 15.0
"""What a request may wait for its dependencies in all."""


class Budget:
    """The time that a request may still wait.

    It goes by from now on, except while a body is transferred.

    :param clock: tells the time.
    :param seconds: in all.
    """

    def __init__(self, clock: IReactorTime, seconds: float = REQUEST_SECONDS) -> None:
        self.clock = clock
        self._until = clock.seconds() + seconds
        self._transferring_since: float | None = None

    @property
    def transferring(self) -> bool:
        """Whether a body is being transferred."""
        return self._transferring_since is not None

    def left(self) -> float:
        """Return the seconds that are left, at least 0."""
        now = self.clock.seconds()
        if self._transferring_since is not None:
            now = self._transferring_since
        return max(0.0, self._until - now)

    def __enter__(self) -> None:
        """Let no time go by from now on: a body takes as long as it takes."""
        self._transferring_since = self.clock.seconds()

    def __exit__(self, *_exception: object) -> None:
        """Let time go by again."""
        assert self._transferring_since is not None
        self._until += self.clock.seconds() - self._transferring_since
        self._transferring_since = None


_current: ContextVar[Budget | None] = ContextVar("budget", default=None)


def begin_budget(clock: IReactorTime) -> None:
    """Give the running coroutine, and all that it calls, a budget of its own."""
    _current.set(Budget(clock))


def current_budget() -> Budget | None:
    """Return the budget of whoever calls, if there is one."""
    return _current.get()


@contextmanager
def spending(budget: Budget | None) -> Iterator[None]:
    """Let coroutines that are started in the block have this budget, or none."""
    token = _current.set(budget)
    try:
        yield
    finally:
        _current.reset(token)


def transferring() -> AbstractContextManager[None]:
    """Transfer a body in the block: the budget, if there is one, stays as it is."""
    budget = _current.get()
    if budget is None or budget.transferring:
        return nullcontext()
    return budget


def time_left(limit: float) -> float:
    """Return the seconds for a wait: the limit of its own, or what is left if that is
    less."""
    budget = _current.get()
    return limit if budget is None else min(limit, budget.left())


def time_left_unless_transferring(limit: float) -> float:
    """As :func:`time_left`, but the limit of its own while a body is transferred."""
    budget = _current.get()
    if budget is None or budget.transferring:
        return limit
    return min(limit, budget.left())


def _too_slow() -> Unavailable:
    return Unavailable("database", "it is too slow")


def _spent(_outcome: object, _seconds: float) -> NoReturn:
    raise _too_slow()


def within_budget(waiting: Deferred[T], enough: float) -> Deferred[T]:
    """Give up a wait when the budget is spent.

    :param enough: seconds that the wait takes at the most: no timer is needed where
        more are left.
    :return: the same, which then fails with ``Unavailable``.
    """
    budget = _current.get()
    if budget is not None and (left := budget.left()) < enough:
        waiting.addTimeout(left, budget.clock, _spent)
    return waiting


def until_spent(work: Coroutine[Deferred[Any], Any, T]) -> Deferred[T]:
    """Run ``work`` to its end, but wait for it only until the budget is spent.

    :return: its outcome, or ``Unavailable``.
    """
    outcome = shield(work)
    budget = _current.get()
    if budget is not None and not outcome.called:
        # Less to do for each upload than for Deferred.addTimeout.
        timer = budget.clock.callLater(budget.left(), _give_up, outcome)
        outcome.addBoth(_stop, timer)
    return outcome


def _give_up(outcome: Deferred[T]) -> None:
    outcome.errback(_too_slow())


def _stop(result: T, timer: IDelayedCall) -> T:
    if timer.active():
        timer.cancel()
    return result
