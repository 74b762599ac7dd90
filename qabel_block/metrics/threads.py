"""Measures how long storage operations wait for a thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from qabel_block.metrics.catalogue import Metrics
from qabel_block.util.threads import Threads

P = ParamSpec("P")
T = TypeVar("T")


class MeasuredThreads(Threads):
    """A pool of threads, of which somebody knows whether it is large enough."""

    def __init__(
        self, metrics: Metrics, now: Callable[[], float], *arguments: Any
    ) -> None:
        super().__init__(*arguments)
        self._waited = metrics.thread_wait
        self._now = now

    async def run(
        self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """See :meth:`Threads.run`."""
        asked = self._now()

        def call() -> T:
            self._waited.observe(self._now() - asked)
            return function(*args, **kwargs)

        return await super().run(call)
