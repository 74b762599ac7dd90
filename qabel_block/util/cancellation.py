"""Shields work from cancellation."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from qabel_block.errors import BlockError

log = Logger()
T = TypeVar("T")


def shield(work: Coroutine[Deferred[Any], Any, T]) -> Deferred[T]:
    """Run ``work`` to its end, whatever becomes of the Deferred returned.

    Cancelling only stops the waiting: what is being committed is committed, though
    nobody may want to know any more.
    """
    outcome: Deferred[T] = Deferred()

    def deliver(result: T) -> None:
        if not outcome.called:
            outcome.callback(result)

    def fail(failure: Failure) -> None:
        if not outcome.called:
            outcome.errback(failure)
        elif not failure.check(BlockError):
            log.failure("after the client had left", failure=failure)

    Deferred.fromCoroutine(work).addCallbacks(deliver, fail)
    return outcome
