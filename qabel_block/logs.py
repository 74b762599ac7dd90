"""Logging: Twisted's events, through Python's logging, to where they are wanted."""

from __future__ import annotations

import json
import logging
import logging.config
import sys
from logging.handlers import RotatingFileHandler, TimedRotatingFileHandler
from typing import Any, TextIO

from twisted.logger import LogLevel
from twisted.python import usage

from qabel_block.config import LogConfig
from qabel_block.log_observer import PythonLogObserver

FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"
TIME = "%Y-%m-%dT%H:%M:%S%z"

_COLOURS = {
    logging.DEBUG: "34",
    logging.INFO: "32",
    logging.WARNING: "33",
    logging.ERROR: "31",
    logging.CRITICAL: "35",
}
_TALKATIVE = {
    "alembic": logging.WARNING,
    "boto3": logging.INFO,
    "botocore": logging.INFO,
    "s3transfer": logging.INFO,
    "urllib3": logging.INFO,
}
"""Libraries that say too much below a level: Alembic all that it loads, the
others whole requests, credentials included."""

_RUNNERS_OWN = {
    "TwistOptions": ("logFile", sys.stdout),
    "ServerOptions": ("logfile", None),
}


def set_up_logging(config: LogConfig, runner: Any) -> None:
    """Send all log events where the operator wants them.

    ``twist`` and ``twistd`` have logs of their own. They stay in charge with
    ``--logging=none``, and if theirs was chosen and none of our options was.

    :param runner: the runner's options, if there is a runner.
    :raises UsageError: if a log can't be opened.
    """
    if config.level == "none" or (_chosen(runner) and not config.explicit):
        return
    try:
        _configure(config)
    except (OSError, ValueError, ImportError, AttributeError, TypeError) as error:
        raise usage.UsageError(f"can't log as configured: {error}") from error
    _take_over(runner)


def _configure(config: LogConfig) -> None:
    handlers: list[logging.Handler] = []
    if config.file is not None:
        handlers.append(_file_handler(config))
    to_stderr = config.stderr
    if to_stderr is None:
        to_stderr = config.file is None and config.dict_config is None
    if to_stderr:
        assert sys.__stderr__ is not None  # what twist does not hide
        handlers.append(_stream_handler(sys.__stderr__))
    root = logging.getLogger()
    root.setLevel(config.level.upper())
    for handler in handlers:
        root.addHandler(handler)
    for name, level in _TALKATIVE.items():
        logging.getLogger(name).setLevel(max(root.level, level))
    if config.dict_config is not None:
        settings = json.loads(config.dict_config.read_text(encoding="utf-8"))
        logging.config.dictConfig({"version": 1, **settings})


def _file_handler(config: LogConfig) -> logging.Handler:
    handler: logging.Handler
    if config.rotate_mode == "size":
        handler = RotatingFileHandler(
            str(config.file),
            maxBytes=config.max_size,
            backupCount=config.backups,
            encoding="utf-8",
        )
    else:
        handler = TimedRotatingFileHandler(
            str(config.file),
            when=config.rotate_when,
            interval=config.rotate_interval,
            backupCount=config.backups,
            encoding="utf-8",
        )
    handler.setFormatter(logging.Formatter(FORMAT, TIME))
    return handler


def _stream_handler(stream: TextIO) -> logging.Handler:
    handler = logging.StreamHandler(stream)
    formatter = _Coloured if stream.isatty() else logging.Formatter
    handler.setFormatter(formatter(FORMAT, TIME))
    return handler


class _Coloured(logging.Formatter):
    """Shows the level in colour."""

    def format(self, record: logging.LogRecord) -> str:
        colour = _COLOURS.get(record.levelno, "0")
        line = super().format(record)
        return line.replace(
            f" {record.levelname} ", f" \x1b[{colour}m{record.levelname}\x1b[0m ", 1
        )


def _chosen(runner: Any) -> bool:
    """Say whether the runner was told where to log."""
    kind = type(runner).__name__
    if kind == "TwistOptions":
        return runner["logFile"] is not sys.stdout
    if kind == "ServerOptions":
        return bool(runner["logfile"] or runner["logger"] or runner.get("syslog"))
    return False


def _take_over(runner: Any) -> None:
    """Make the runner log to Python's logging, and to nothing else."""
    kind = type(runner).__name__
    if kind == "TwistOptions":
        runner["fileLogObserverFactory"] = lambda _file: PythonLogObserver()
        runner["logLevel"] = LogLevel.debug
    elif kind == "ServerOptions":
        runner["logger"] = PythonLogObserver
