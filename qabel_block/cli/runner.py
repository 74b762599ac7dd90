"""Runs a command to its end, or until it is interrupted."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    formatEvent,
    globalLogBeginner,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from qabel_block.errors import AccountNotFound, BlockError, NameTaken

ALL_WELL = 0
FINDINGS = 1
FAILED = 2
"""Exit statuses."""


class Interrupted(Exception):
    """The operator wants the command to end."""


class CommandFailed(Exception):
    """The command can't be done; the message says why, in one line."""


class Interruption:
    """Takes note of SIGINT and SIGTERM.

    Whoever works looks at it between one batch and the next. A second signal
    ends the process at once, which does no harm either.
    """

    def __init__(self) -> None:
        self._requested = False

    def install(self) -> None:
        """Begin to take note."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._request)

    def check(self) -> None:
        """Go on, or not.

        :raises Interrupted: if there was a signal.
        """
        if self._requested:
            raise Interrupted

    def _request(self, _number: int, _frame: object) -> None:
        if self._requested:
            os._exit(FAILED)
        self._requested = True


def run(work: Callable[[], Coroutine[Deferred[Any], Any, int]], reactor: Any) -> int:
    """Run ``work`` in the reactor and return the exit status.

    What goes wrong is one line on stderr, or a traceback if it is unexpected.
    """
    _log_to_stderr()
    statuses = [FAILED]

    def begin() -> None:
        running = Deferred.fromCoroutine(work())
        running.addErrback(_explain).addCallback(statuses.append)
        running.addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(begin)
    reactor.run(installSignalHandlers=False)
    return statuses[-1]


def say(line: str) -> None:
    """Write a line to standard error."""
    sys.stderr.write(f"qabel-block: {line}\n")
    sys.stderr.flush()


def _explain(failure: Failure) -> int:
    error = failure.value
    if isinstance(error, Interrupted):
        say("interrupted; run it again to go on")
    elif isinstance(error, BlockError | CommandFailed):
        say(" ".join((str(error) or type(error).__name__).split()))
    else:
        traceback.print_exception(error)
    refused = isinstance(error, AccountNotFound | NameTaken)
    return FINDINGS if refused else FAILED


def _log_to_stderr() -> None:
    warnings = LogLevelFilterPredicate(LogLevel.warn)
    observer = FilteringLogObserver(_StderrObserver(), [warnings])
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)


@implementer(ILogObserver)
class _StderrObserver:
    def __call__(self, event: LogEvent) -> None:
        say(formatEvent(event))
        failure = event.get("log_failure")
        if failure is not None:
            sys.stderr.write(failure.getTraceback())
