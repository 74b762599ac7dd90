"""Hands Twisted's log events to Python's logging."""

from __future__ import annotations

import logging
from typing import Any

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent
from zope.interface import implementer

_LEVELS = {
    LogLevel.debug: logging.DEBUG,
    LogLevel.info: logging.INFO,
    LogLevel.warn: logging.WARNING,
    LogLevel.error: logging.ERROR,
    LogLevel.critical: logging.CRITICAL,
}

_OURS = "qabel_block."
_PLAIN = (str, int, float, bool, type(None))


@implementer(ILogObserver)
class PythonLogObserver:
    """Logs each event under the name of the module it came from.

    Twisted's own observer gives all of them one name, and looks for each
    caller in the stack, which costs more than everything else about a line.
    """

    def __call__(self, event: LogEvent) -> None:
        level = _LEVELS.get(event.get("log_level", LogLevel.info), logging.INFO)
        logger = logging.getLogger(event.get("log_namespace") or "twisted")
        if not logger.isEnabledFor(level):
            return
        record = event.get("log_record")
        if record is None:
            record = logging.LogRecord(
                logger.name, level, "", 0, formatEvent(event), None, _exc_info(event)
            )
            record.fields = _fields(event, logger.name)
        logger.handle(record)


def _fields(event: LogEvent, name: str) -> dict[str, object]:
    """Return what is in the words of an event of ours, each by its name."""
    if not name.startswith(_OURS):
        return {}
    return {
        key: value if isinstance(value, _PLAIN) else str(value)
        for key, value in event.items()
        if not key.startswith("log_") and isinstance(value, (*_PLAIN, Exception))
    }


def _exc_info(event: LogEvent) -> Any:
    failure = event.get("log_failure")
    if failure is None:
        return None
    return failure.type, failure.value, failure.getTracebackObject()
