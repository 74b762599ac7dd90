"""Writes lines in a thread, so that nobody waits for a disk or a reader of a pipe."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from qabel_block.log.sinks import DescriptorSink, Sink
from qabel_block.util.throttle import Throttle

MAX_WAITING = 2**20
"""Characters that may wait to be written. What comes beyond that is dropped."""

GATHER_SECONDS = 0.1
"""For how long lines are gathered that come while, or right after, others are written:
a thread that is woken for each of them costs a busy server a fifth of its time, and
one that is woken fifty times a second still a twentieth."""

STOP_SECONDS = 2.0
"""How long the end of the process waits for lines to be written."""


class LineWriter:
    """Writes lines to a sink: at once, or in a thread while that runs.

    Lines that can't be written disturb nobody. They are counted, and there is a
    message about it on stderr at most once a minute.

    :param dropped_line: makes the line that tells how many were dropped, to be
        written where they are missing.
    :ivar dropped: lines that are missing because too many waited.
    """

    def __init__(self, sink: Sink, dropped_line: Callable[[int], str]) -> None:
        self.dropped = 0
        self._sink = sink
        self._dropped_line = dropped_line
        self._lock = threading.Lock()
        self._lines: list[str] = []
        self._size = 0
        self._called = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._untold = 0
        self._reopen = False
        self._complaints = Throttle(time.monotonic)

    def write(self, lines: list[str]) -> None:
        """Write lines, each with its end, in any thread."""
        if self._thread is None:
            self._write(lines)
            return
        with self._lock:
            size = sum(map(len, lines))
            if self._size + size > MAX_WAITING:
                self.dropped += len(lines)
                self._untold += len(lines)
                return
            if self._untold:
                lines = [self._take_untold(), *lines]
            self._size += sum(map(len, lines))
            self._lines += lines
        if not self._called.is_set():
            self._called.set()

    def reopen(self) -> None:
        """Open a file anew that was renamed, before anything else is written."""
        self._reopen = True
        self.write([])

    def start(self) -> None:
        """Leave all writing to a thread. To be called after the last fork."""
        if self._thread is None:
            self._stopping.clear()
            # A thread that hangs in the kernel must not keep the process alive.
            self._thread = threading.Thread(
                target=self._run, name="log writer", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """Wait for what waits to be written, for a limited time. If that was
        enough, what comes after is written at once; else it is dropped."""
        thread = self._thread
        if thread is None:
            return
        self._stopping.set()
        self._called.set()
        thread.join(STOP_SECONDS)
        if not thread.is_alive():
            self._thread = None
            lines, self._lines, self._size = self._lines, [], 0
            self._write(lines)

    def close(self) -> None:
        """Write what waits, and release the sink."""
        self.stop()
        if self._thread is None:
            self._sink.close()

    def _run(self) -> None:
        stopping = False
        while not stopping:
            self._called.wait()
            # In this order: what is said or asked for in between is seen next time.
            self._called.clear()
            stopping = self._stopping.is_set()
            with self._lock:
                lines, self._lines = self._lines, []
            self._write(lines)
            with self._lock:
                self._size -= sum(map(len, lines))
                missing = self._untold and not self._size
                untold = [self._take_untold()] if missing else []
            self._write(untold)
            self._stopping.wait(GATHER_SECONDS)

    def _take_untold(self) -> str:
        count, self._untold = self._untold, 0
        return self._dropped_line(count)

    def _write(self, lines: list[str]) -> None:
        try:
            if self._reopen:
                self._reopen = False
                self._sink.reopen()
            if lines:
                self._sink.write(lines)
        except (OSError, ValueError) as error:
            self._tell(type(error).__name__)

    def _tell(self, what: str) -> None:
        if sys.__stderr__ is None or not self._complaints.allows():
            return
        message = f"qabel-block: the log is not written: {what}\n"
        with suppress(OSError, ValueError):
            DescriptorSink(sys.__stderr__.fileno()).write([message])


def write_in_threads(writers: Iterable[LineWriter], reactor: Any) -> None:
    """Let writers use threads as long as the reactor runs."""
    for writer in writers:
        reactor.callWhenRunning(writer.start)
        reactor.addSystemEventTrigger("after", "shutdown", writer.stop)
