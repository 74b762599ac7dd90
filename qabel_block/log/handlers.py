"""Where lines of the log go.

The lines of requests that end in one turn of the reactor are written together;
everything else is written at once, what waits before it.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from logging.handlers import RotatingFileHandler, TimedRotatingFileHandler
from typing import Any, Protocol, TextIO

from qabel_block.log.access import AccessRecord

QUIET_SECONDS = 60.0
"""How long not to repeat that the log can't be written."""


class Sink(Protocol):
    """Takes whole lines.

    Raises ``OSError`` or ``ValueError`` if it can't; they are lost then.
    """

    def write(self, lines: list[str]) -> None:
        """Write lines, each with its end."""

    def close(self) -> None:
        """Release what it holds."""


class StreamSink:
    """A stream that somebody else closes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, lines: list[str]) -> None:
        """See :meth:`Sink.write`."""
        self._stream.write("".join(lines))
        self._stream.flush()

    def close(self) -> None:
        """See :meth:`Sink.close`."""


class SizedFileSink:
    """A file that becomes an old one before it has more than so many bytes."""

    def __init__(self, path: str, max_size: int, backups: int) -> None:
        self._file = RotatingFileHandler(path, "a", max_size, backups, "utf-8")
        self._size = _stream(self._file).tell()
        self._limit = max_size

    def write(self, lines: list[str]) -> None:
        """See :meth:`Sink.write`."""
        fitting: list[str] = []
        for line in lines:
            size = len(line) if line.isascii() else len(line.encode("utf-8"))
            if self._size and self._size + size > self._limit:
                _write(self._file, fitting)
                fitting = []
                self._file.doRollover()
                self._size = 0
            fitting.append(line)
            self._size += size
        _write(self._file, fitting)

    def close(self) -> None:
        """See :meth:`Sink.close`."""
        self._file.close()


class TimedFileSink:
    """A file that becomes an old one from time to time."""

    def __init__(self, path: str, when: str, interval: int, backups: int) -> None:
        self._file = TimedRotatingFileHandler(path, when, interval, backups, "utf-8")

    def write(self, lines: list[str]) -> None:
        """See :meth:`Sink.write`."""
        if time.time() >= self._file.rolloverAt:
            self._file.doRollover()
        _write(self._file, lines)

    def close(self) -> None:
        """See :meth:`Sink.close`."""
        self._file.close()


def _stream(file: logging.FileHandler) -> TextIO:
    if file.stream is None:
        raise ValueError("it is closed")
    return file.stream


def _write(file: logging.FileHandler, lines: list[str]) -> None:
    if lines:
        stream = _stream(file)
        stream.write("".join(lines))
        stream.flush()


class BatchHandler(logging.Handler):
    """Writes to a sink.

    A log that can't be written disturbs nobody: there is a line about that on
    stderr, now and then.

    :ivar later: calls a function in the next turn of the reactor; without one
        nothing waits.
    """

    def __init__(self, sink: Sink) -> None:
        super().__init__()
        self.later: Callable[[Callable[[], None]], object] | None = None
        self._sink = sink
        self._lines: list[str] = []
        self._quiet_until = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        """Called by Python's logging, one record at a time."""
        try:
            self._lines.append(f"{self.format(record)}\n")
        except Exception:
            self.handleError(record)
        if self.later is None or type(record) is not AccessRecord:
            self._write()
        elif len(self._lines) == 1:
            self.later(self.flush)

    def flush(self) -> None:
        """Write what waits."""
        self.acquire()
        try:
            self._write()
        finally:
            self.release()

    def close(self) -> None:
        """Write what waits, and release the sink. Called at the exit at last."""
        self.flush()
        self._sink.close()
        super().close()

    def handleError(self, record: logging.LogRecord | None) -> None:
        """Say that something is missing. Python's own way would be to print a
        traceback, which ``twist`` would log."""
        now = time.monotonic()
        if now >= self._quiet_until and sys.__stderr__ is not None:
            self._quiet_until = now + QUIET_SECONDS
            kind = sys.exc_info()[0]
            name = kind.__name__ if kind is not None else "unknown"
            with suppress(OSError, ValueError):
                sys.__stderr__.write(f"qabel-block: the log is not written: {name}\n")
                sys.__stderr__.flush()

    def _write(self) -> None:
        lines, self._lines = self._lines, []
        if not lines:
            return
        try:
            self._sink.write(lines)
        except (OSError, ValueError):
            self.handleError(None)


def write_in_turns(reactor: Any) -> None:
    """Let all handlers of ours gather lines while the reactor runs."""
    handlers = [
        one for one in logging.getLogger().handlers if type(one) is BatchHandler
    ]

    def later(function: Callable[[], None]) -> None:
        reactor.callLater(0, function)

    def begin() -> None:
        for handler in handlers:
            handler.later = later

    def end() -> None:
        for handler in handlers:
            handler.later = None
            handler.flush()

    reactor.callWhenRunning(begin)
    reactor.addSystemEventTrigger("after", "shutdown", end)
