"""Coalesces concurrent calls into batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from qabel_block.errors import Unavailable, fresh
from qabel_block.util.budget import spending, time_left, within_budget

Q = TypeVar("Q")
A = TypeVar("A")

MAX_BATCH = 200
"""The most questions in a batch; it bounds the length of a statement."""

MAX_WAIT_SECONDS = 3.0
"""Seconds after which a question is not asked any more. With the time that the
answer may take then, nobody would wait for it."""


ENOUGH_SECONDS = MAX_WAIT_SECONDS + 10.0
"""With the time that the database takes at the most."""

Schedule = Callable[[Callable[[], None]], object]
"""Calls a function at once, or very soon: when others may have asked as well."""


def immediately(function: Callable[[], None]) -> None:
    """Wait for nobody."""
    function()


class BatchQueue(Generic[Q, A]):
    """Gathers questions while others are being answered.

    One batch is under way at a time. A question that finds none is asked soon;
    under load many are answered together, which costs hardly more than one: a
    statement of the database, a wait for the disk.

    :param ask: answers some questions in their order, each with an answer or
        with the error that is to be raised for this one. What it raises is
        raised for all; if that is ``Unavailable``, also for those who wait
        meanwhile: nobody waits for one time limit after the other.
    :param now: seconds, from whenever; ``None`` if somebody else sees to it that
        nobody waits for too long.
    :param schedule: what to wait for before a batch is made that nobody waited for:
        at the end of a turn of the reactor, requests that have come in it are
        asked for together.
    """

    _log = Logger()

    def __init__(
        self,
        ask: Callable[[Sequence[Q]], Awaitable[Sequence[A | Exception]]],
        now: Callable[[], float] | None = None,
        schedule: Schedule = immediately,
    ) -> None:
        self._ask = ask
        self._now = now or (lambda: 0.0)
        self._schedule = schedule
        self._waiting: deque[tuple[Q, Deferred[A], float]] = deque()
        self._busy = False

    def ask(self, question: Q) -> Deferred[A]:
        """Return the answer to one question, or an error once the budget is spent.

        Cancelling ends the waiting; what nobody waits for is not asked any more.
        """
        return within_budget(self.ask_to_the_end(question), ENOUGH_SECONDS)

    def ask_to_the_end(self, question: Q) -> Deferred[A]:
        """As :meth:`ask`, but once the question is asked its answer is returned,
        however late."""
        answer: Deferred[A] = Deferred()
        until = self._now() + time_left(MAX_WAIT_SECONDS)
        self._waiting.append((question, answer, until))
        if not self._busy:
            self._busy = True
            self._schedule(self._begin)
        return answer

    def _begin(self) -> None:
        batch = self._next()
        if not batch:
            self._busy = False
            return
        with spending(None):  # it serves several requests
            asking = Deferred.fromCoroutine(self._answer(batch))
        asking.addErrback(self._broken)

    def _next(self) -> list[tuple[Q, Deferred[A]]]:
        """Return whom to ask for now; fail those who have waited too long."""
        batch: list[tuple[Q, Deferred[A]]] = []
        now = self._now()
        while self._waiting and len(batch) < MAX_BATCH:
            question, answer, until = self._waiting.popleft()
            if answer.called:
                continue  # nobody waits any more
            if now >= until:
                tell(answer, Unavailable("database", "it is too busy"))
            else:
                batch.append((question, answer))
        return batch

    async def _answer(self, batch: Sequence[tuple[Q, Deferred[A]]]) -> None:
        questions = [question for question, _ in batch]
        answers: Iterable[A | Exception]
        try:
            answers = await self._ask(questions)
        except Exception as error:
            answers = [fresh(error) for _ in batch]
            if isinstance(error, Unavailable):
                self._give_up(error)
        self._begin()
        for (_, waiting), answer in zip(batch, answers, strict=True):
            tell(waiting, answer)

    def _give_up(self, error: Unavailable) -> None:
        """Fail those who wait. Of them nothing was asked yet, whatever became of
        the others' questions."""
        given_up, self._waiting = self._waiting, deque()
        for _, waiting, _ in given_up:
            tell(waiting, Unavailable(error.dependency, error.reason))

    def _broken(self, failure: Any) -> None:
        self._log.failure("an answer was not handed out", failure=failure)


def tell(waiting: Deferred[A], answer: A | Exception) -> None:
    """Hand out an answer or error, unless nobody waits for it any more."""
    if waiting.called:
        return
    if isinstance(answer, Exception):
        waiting.errback(answer)
    else:
        waiting.callback(answer)
