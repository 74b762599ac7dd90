"""Keeps one worker running, and restarts it with growing delays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from qabel_block.processes.worker_process import WorkerProcess
from qabel_block.util.event import Event

log = Logger()

SHORTEST_DELAY = 0.25
LONGEST_DELAY = 30.0
STABLE_SECONDS = 60.0
"""A worker that has lived so long did not fail at its start: if it ends, the
delays begin anew."""


class WorkerSlot:
    """One of the workers' places: there is a worker in it, or will be soon.

    :param start: starts a worker for a number.
    :ivar ready: whether there has been a worker that was ready.
    """

    def __init__(
        self, number: int, start: Callable[[int], WorkerProcess], clock: Any
    ) -> None:
        self.number = number
        self.ready = Event()
        self._start = start
        self._clock = clock
        self._children: set[WorkerProcess] = set()
        self._current: WorkerProcess | None = None
        self._next: IDelayedCall | None = None
        self._delay = SHORTEST_DELAY
        self._stopping = False

    def fill(self) -> None:
        """Start a worker."""
        self._current = self._spawn()

    async def replace(self) -> bool:
        """Put a new worker in the place of the one that is there, which drains
        when the new one is ready, and return when it is gone. A new one that does
        not get ready changes nothing, nor does one that has to stop before.

        :return: whether the worker has been replaced.
        """
        if self._stopping:
            return False
        old, new = self._current, self._spawn()
        await _first(new.ready, new.gone)
        if self._stopping:
            return False
        if new.gone.is_set:
            log.error("worker {number} stays: its successor failed", number=self.number)
            return False
        self._cancel()
        # The old one may have crashed meanwhile, and have got a successor.
        old, self._current = self._current, new
        if old is not None:
            old.drain()
            await old.gone.wait()
        return True

    async def stop(self) -> None:
        """Let the worker drain; return when it is gone, and start no other."""
        self._stopping = True
        self._cancel()
        for process in tuple(self._children):
            process.drain()
        for process in tuple(self._children):
            await process.gone.wait()

    def abort_inflight(self) -> None:
        """Let nothing that is under way hold up the end."""
        for process in self._children:
            process.abort_inflight()

    def _spawn(self) -> WorkerProcess:
        process = self._start(self.number)
        self._children.add(process)
        Deferred.fromCoroutine(self._watch(process))
        return process

    async def _watch(self, process: WorkerProcess) -> None:
        await _first(process.ready, process.gone)
        if process.ready.is_set:
            self.ready.set()
        await process.gone.wait()
        self._children.discard(process)
        if process is self._current and not self._stopping:
            self._current = None
            self._fill_later(process)

    def _fill_later(self, ended: WorkerProcess) -> None:
        if self._clock.seconds() - ended.began > STABLE_SECONDS:
            self._delay = SHORTEST_DELAY
        log.error(
            "worker {number} has ended ({status}); the next starts in {delay} s",
            number=self.number,
            status=ended.status,
            delay=self._delay,
        )
        self._next = self._clock.callLater(self._delay, self.fill)
        self._delay = min(self._delay * 2, LONGEST_DELAY)

    def _cancel(self) -> None:
        if self._next is not None and self._next.active():
            self._next.cancel()


async def _first(one: Event, other: Event) -> None:
    """Return when one of two things has happened."""
    waiting = [Deferred.fromCoroutine(flag.wait()) for flag in (one, other)]
    await DeferredList(waiting, fireOnOneCallback=True)
