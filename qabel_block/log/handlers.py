"""The handler of Python's logging that formats lines and has them written.

The lines of requests that end in one turn of the reactor are written together;
everything else is written at once, after what waits before it.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any

from qabel_block.log.access import AccessRecord
from qabel_block.log.sinks import Sink
from qabel_block.log.writer import LineWriter, write_in_threads


class BatchHandler(logging.Handler):
    """Formats records, and writes them to a sink.

    :ivar later: calls a function in the next turn of the reactor; without one
        nothing waits.
    :ivar writer: what writes the lines.
    """

    def __init__(self, sink: Sink) -> None:
        super().__init__()
        self.later: Callable[[Callable[[], None]], object] | None = None
        self.writer = LineWriter(sink, self._dropped_line)
        self._lines: list[str] = []

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
        """Hand what waits to the writer."""
        self.acquire()
        try:
            self._write()
        finally:
            self.release()

    def close(self) -> None:
        """Write what waits, and release the sink. Called at the exit at last."""
        self.flush()
        self.writer.close()
        super().close()

    def handleError(self, record: logging.LogRecord) -> None:
        """Log that a record can't be formatted. Python's own way would be to print
        a traceback, which ``twist`` would log."""
        error = sys.exc_info()[1]
        text = f"a record of {record.name} can't be formatted: {type(error).__name__}"
        self._lines.append(self._own_line(text))

    def _dropped_line(self, count: int) -> str:
        return self._own_line(f"{count} lines of the log were dropped: it is too slow")

    def _own_line(self, text: str) -> str:
        record = logging.LogRecord(__name__, logging.WARNING, "", 0, text, None, None)
        return f"{self.format(record)}\n"

    def _write(self) -> None:
        lines, self._lines = self._lines, []
        if lines:
            self.writer.write(lines)


def write_in_background(reactor: Any) -> None:
    """Let all handlers of ours gather lines, and write them in threads, while the
    reactor runs."""
    handlers = own_handlers()

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
    write_in_threads([handler.writer for handler in handlers], reactor)


def own_handlers() -> list[BatchHandler]:
    """Return the handlers that write this server's log."""
    return [one for one in logging.getLogger().handlers if type(one) is BatchHandler]


def reopen_logs() -> None:
    """Go on in new files where the old ones were renamed (``SIGHUP``)."""
    for handler in own_handlers():
        handler.writer.reopen()


def dropped_lines() -> int:
    """Return how many lines are missing in the log so far."""
    return sum(handler.writer.dropped for handler in own_handlers())
