"""What lines of the log look like.

For ``--logging-config``, all of these can be named as a formatter's class.
"""

from __future__ import annotations

import json
import logging
import time

from qabel_block.log.access import AccessRecord

TEXT = "%(asctime)s %(levelname)s [%(process)d] %(name)s %(message)s"
TIME = "%Y-%m-%dT%H:%M:%S%z"

_COLOURS = {
    logging.DEBUG: "34",
    logging.INFO: "32",
    logging.WARNING: "33",
    logging.ERROR: "31",
    logging.CRITICAL: "35",
}


class TextFormatter(logging.Formatter):
    """Lines for people."""

    def __init__(self) -> None:
        super().__init__(TEXT, TIME)


class ColouredFormatter(TextFormatter):
    """The same with the level in colour."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        colour = _COLOURS.get(record.levelno, "0")
        line = super().format(record)
        return line.replace(
            f" {record.levelname} ", f" \x1b[{colour}m{record.levelname}\x1b[0m ", 1
        )


class JsonFormatter(logging.Formatter):
    """Lines for programs: a JSON object each, in ASCII, times in UTC.

    All have ``time``, ``level``, ``logger``, ``process`` and ``message``; what else
    there is depends on the event.
    """

    def __init__(self) -> None:
        super().__init__()
        self._second = -1
        self._until_second = ""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        if type(record) is AccessRecord:
            return "".join(
                (
                    '{"time":"',
                    self._time(record.created),
                    '","level":"INFO","logger":"qabel_block.access","process":',
                    str(record.process),
                    ",",
                    record.json_fields(),
                    "}",
                )
            )
        return self._any(record)

    def _any(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            **getattr(record, "fields", {}),
            "time": self._time(record.created),
            "level": record.levelname,
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        first = ("time", "level", "logger", "process", "message")
        ordered = {name: line.pop(name) for name in first} | line
        return json.dumps(ordered, separators=(",", ":"), default=str)

    def _time(self, created: float) -> str:
        second = int(created)
        if second != self._second:
            self._second = second
            self._until_second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._until_second}.{int((created - second) * 1000):03d}Z"
