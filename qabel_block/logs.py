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

FORMAT = "%(asctime)s %(levelname)s [%(process)d] %(name)s %(message)s"
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
    "urllib3": logging.ERROR,
}
"""Libraries that say too much below a level: Alembic all that it loads, urllib3
each connection above those it keeps, all whole requests, credentials included."""


def claim_log(runner: Any, level: str, explicit: bool) -> None:
    """Tell ``twistd`` that its log is ours, unless it is not.

    This has to be while options are read: after that ``twistd`` makes its log.

    :param level: that of ``--logging``.
    :param explicit: whether any logging option was given.
    """
    if type(runner).__name__ == "ServerOptions" and _is_ours(runner, level, explicit):
        runner["logger"] = f"{PythonLogObserver.__module__}.PythonLogObserver"


def set_up_logging(config: LogConfig, runner: Any) -> bool:
    """Send all log events where the operator wants them.

    ``twist`` and ``twistd`` have logs of their own. They stay in charge with
    ``--logging=none``, and without any of our options also if theirs was chosen or
    ``twistd`` becomes a daemon.

    :param runner: the runner's options, if there is a runner.
    :returns: whether the log is ours now.
    :raises UsageError: if a log can't be opened.
    """
    if not _is_ours(runner, config.level, config.explicit):
        return False
    try:
        _configure(config)
    except (OSError, ValueError, ImportError, AttributeError, TypeError) as error:
        raise usage.UsageError(f"can't log as configured: {error}") from error
    _take_over(runner)
    return True


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


def _is_ours(runner: Any, level: str, explicit: bool) -> bool:
    return level != "none" and (explicit or not _has_its_own(runner))


def _has_its_own(runner: Any) -> bool:
    """Say whether the runner was told where to log, or is a daemon, which has no
    terminal."""
    kind = type(runner).__name__
    if kind == "TwistOptions":
        return runner["logFile"] is not sys.stdout
    if kind == "ServerOptions":
        other = runner["logger"] not in (None, PythonLogObserver)
        own = runner["logfile"] or other or runner.get("syslog")
        return bool(own or not runner["nodaemon"])
    return False


def _take_over(runner: Any) -> None:
    """Make ``twist`` log to Python's logging, and to nothing else."""
    if type(runner).__name__ == "TwistOptions":
        runner["fileLogObserverFactory"] = lambda _file: PythonLogObserver()
        runner["logLevel"] = LogLevel.debug
