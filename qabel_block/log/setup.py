"""Logging: Twisted's events, through Python's logging, to where they are wanted.

It is text on a terminal, and a JSON object for each line everywhere else.
"""

from __future__ import annotations

import json
import logging
import logging.config
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from attrs import frozen
from twisted.logger import LogLevel
from twisted.python import usage

from qabel_block.log.access import NAME, WriteAccess, write_to_python, write_to_twisted
from qabel_block.log.formats import ColouredFormatter, JsonFormatter
from qabel_block.log.handlers import BatchHandler, write_in_background
from qabel_block.log.observer import PythonLogObserver
from qabel_block.log.sinks import DescriptorSink, Sink, SizedFileSink, TimedFileSink

NOISY_LOGGERS = {
    "alembic": logging.WARNING,
    "log_legacy": logging.WARNING,
    "twisted.application": logging.WARNING,
    "boto3": logging.INFO,
    "botocore": logging.INFO,
    "s3transfer": logging.INFO,
    "twisted.internet.endpoints": logging.WARNING,
    "twisted.web.client": logging.WARNING,
    "urllib3": logging.ERROR,
}
"""Libraries that say too much below a level: Alembic all that it loads, urllib3
each connection above those it keeps, Twisted each port and each connection of a client,
all whole requests, credentials included."""


@frozen
class LogConfig:
    """How to log (the manual's logging options).

    :ivar level: ``debug``, ``info``, ``warning``, ``error``, or ``none`` to
        leave logging to ``twist`` or ``twistd``.
    :ivar file: the current log file; rotated ones get a suffix.
    :ivar stderr: whether to log there; ``None`` if the operator did not say.
    :ivar dict_config: a JSON file for :func:`logging.config.dictConfig`.
    :ivar explicit: whether any logging option was given.
    """

    level: str = "info"
    file: Path | None = None
    max_size: int = 100_000_000
    backups: int = 10
    rotate_mode: str = "size"
    rotate_when: str = "midnight"
    rotate_interval: int = 1
    stderr: bool | None = None
    dict_config: Path | None = None
    explicit: bool = False


def set_twistd_logger(runner: Any, level: str, explicit: bool) -> None:
    """Tell ``twistd`` that its log is ours, unless it is not.

    This has to be while options are read: after that ``twistd`` makes its log.

    :param level: that of ``--logging``.
    :param explicit: whether any logging option was given.
    """
    if type(runner).__name__ == "ServerOptions" and _replaces_runner_log(
        runner, level, explicit
    ):
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
    if not _replaces_runner_log(runner, config.level, config.explicit):
        if config.level == "debug" and type(runner).__name__ == "TwistOptions":
            runner["logLevel"] = LogLevel.debug
        return False
    try:
        _configure(config)
    except (OSError, ValueError, ImportError, AttributeError, TypeError) as error:
        raise usage.UsageError(f"can't log as configured: {error}") from error
    _redirect_twist_log(runner)
    return True


def access_log(ours: bool, reactor: Any) -> WriteAccess:
    """Return what takes note of each request.

    :param ours: what :func:`set_up_logging` has said.
    """
    if not ours:
        return write_to_twisted
    write_in_background(reactor)
    return write_to_python(logging.getLogger(NAME))


def terminal() -> Callable[[str], object] | None:
    """Return what writes to the terminal that the log goes to, if it goes to one."""
    stderr = sys.__stderr__
    for handler in logging.getLogger().handlers:
        if stderr is not None and isinstance(handler.formatter, ColouredFormatter):
            return lambda text: print(text, file=stderr, flush=True)
    return None


def _configure(config: LogConfig) -> None:
    root = logging.getLogger()
    root.setLevel(config.level.upper())
    for name, level in NOISY_LOGGERS.items():
        logging.getLogger(name).setLevel(max(root.level, level))
    if config.dict_config is not None:
        settings = json.loads(config.dict_config.read_text(encoding="utf-8"))
        defaults = {"version": 1, "disable_existing_loggers": False}
        logging.config.dictConfig({**defaults, **settings})
    # Only now: dictConfig closes what handlers there are.
    for handler in _handlers(config):
        root.addHandler(handler)


def _handlers(config: LogConfig) -> Iterator[logging.Handler]:
    if config.file is not None:
        yield _handler(_file_sink(config), JsonFormatter())
    to_stderr = config.stderr
    if to_stderr is None:
        to_stderr = config.file is None and config.dict_config is None
    if to_stderr:
        assert sys.__stderr__ is not None  # what twist does not hide
        terminal = sys.__stderr__.isatty()
        formatter = ColouredFormatter() if terminal else JsonFormatter()
        yield _handler(DescriptorSink(sys.__stderr__.fileno()), formatter)


def _file_sink(config: LogConfig) -> Sink:
    path = str(config.file)
    if config.rotate_mode == "size":
        return SizedFileSink(path, config.max_size, config.backups)
    return TimedFileSink(
        path, config.rotate_when, config.rotate_interval, config.backups
    )


def _handler(sink: Sink, formatter: logging.Formatter) -> logging.Handler:
    handler = BatchHandler(sink)
    handler.setFormatter(formatter)
    return handler


def _replaces_runner_log(runner: Any, level: str, explicit: bool) -> bool:
    return level != "none" and (explicit or not _has_runner_log(runner))


def _has_runner_log(runner: Any) -> bool:
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


def _redirect_twist_log(runner: Any) -> None:
    """Make ``twist`` log to Python's logging, and to nothing else."""
    if type(runner).__name__ == "TwistOptions":
        runner["fileLogObserverFactory"] = lambda _file: PythonLogObserver()
        runner["logLevel"] = LogLevel.debug
