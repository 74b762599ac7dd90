"""Runs a command to its end, or until it is interrupted."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from threading import Timer
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

from qabel_block.cli.streams import (
    OutputFailed,
    flush_output,
    write_unless_full,
)
from qabel_block.errors import AccountNotFound, BlockError, NameTaken

ALL_WELL = 0
FINDINGS = 1
FAILED = 2
NOBODY_READS = 141
"""Exit statuses. The last is a shell's for who is ended by SIGPIPE."""

PATIENCE = 0.7
"""Seconds that a command which is interrupted has for coming to the end of a batch,
and then for letting go of what it uses."""


class Interrupted(Exception):
    """The operator wants the command to end."""

    def __init__(self, message: str = "interrupted; run it again to go on") -> None:
        super().__init__(message)


class CommandFailed(Exception):
    """The command can't be done; the message says why, in one line."""


class Interruption:
    """Takes note of SIGINT and SIGTERM.

    Whoever works looks at it between one batch and the next. A second signal
    ends the process at once, which does no harm either.
    """

    def __init__(self) -> None:
        self._told: Callable[[], object] = lambda: None
        self._requested = False
        self._at_once = False

    def install(self) -> None:
        """Begin to take note."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._request)

    def tell(self, told: Callable[[], object]) -> None:
        """Have ``told`` called when there is a signal, in its handler, or now if there
        was one."""
        self._told = told
        if self._requested:
            told()

    def check(self) -> None:
        """Go on, or not.

        :raises Interrupted: if there was a signal.
        """
        if self._requested:
            raise Interrupted

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Let a signal end the block, which waits for input, and not only be noted.

        :raises Interrupted: if there is a signal, or was one.
        """
        self._at_once = True
        try:
            self.check()
            yield
        finally:
            self._at_once = False

    def _request(self, _number: int, _frame: object) -> None:
        if self._requested:
            os._exit(FAILED)
        self._requested = True
        if self._at_once:
            raise Interrupted
        self._told()


def run(
    work: Callable[[], Coroutine[Deferred[Any], Any, int]],
    reactor: Any,
    interruption: Interruption,
) -> int:
    """Run ``work`` in the reactor and return the exit status.

    What goes wrong is one line on stderr, or a traceback if it is unexpected. What is
    interrupted, and does not come to the end of a batch, is cancelled: at worst that
    is as if the process were killed.
    """
    observer = _StderrObserver()
    _log_to(observer)
    statuses = [FAILED]

    def begin() -> None:
        running = Deferred.fromCoroutine(work())
        cancelled = False

        def cancel() -> None:
            nonlocal cancelled
            if running.called:
                return
            # Those whom it leaves behind complain, and nobody wants to know.
            cancelled = observer.muted = True
            # Not the reactor's: it may be the one that waits, for a thread.
            reminder = Timer(PATIENCE, say, [_STEP])
            reminder.daemon = True
            reminder.start()
            running.cancel()

        def end(result: int | Failure) -> None:
            if cancelled:
                # Lookups of names and migrations go on in threads, which would be
                # waited for.
                say(_interrupted(result))
                with suppress(OutputFailed):
                    flush_output()
                os._exit(FAILED)
            statuses.append(_explain(result) if isinstance(result, Failure) else result)
            reactor.stop()

        running.addBoth(end)
        interruption.tell(
            lambda: reactor.callFromThread(reactor.callLater, PATIENCE, cancel)
        )

    reactor.callWhenRunning(begin)
    reactor.run(installSignalHandlers=False)
    return statuses[-1]


_STEP = "waiting for a step that can't be broken off; interrupt again to end at once"


def say(line: str) -> None:
    """Write a line to standard error, if that is possible."""
    write_unless_full(sys.stderr, f"qabel-block: {line}\n")


def finish_output(status: int) -> int:
    """Write what is not written yet, and return the exit status."""
    try:
        flush_output()
    except OutputFailed as error:
        return _explain(Failure(error))
    return status


def _interrupted(result: int | Failure) -> str:
    """Return what to say of a command that was cancelled, whatever became of it."""
    error = result.value if isinstance(result, Failure) else None
    return str(error if isinstance(error, Interrupted) else Interrupted())


def _explain(failure: Failure) -> int:
    error = failure.value
    if isinstance(error, OutputFailed):
        if error.unread:
            return NOBODY_READS
        say(str(error))
        return FAILED
    if isinstance(error, BlockError | CommandFailed | Interrupted):
        say(" ".join((str(error) or type(error).__name__).split()))
    else:
        traceback.print_exception(error)
    refused = isinstance(error, AccountNotFound | NameTaken)
    return FINDINGS if refused else FAILED


def _log_to(observer: ILogObserver) -> None:
    warnings = LogLevelFilterPredicate(LogLevel.warn)
    filtered = FilteringLogObserver(observer, [warnings])
    globalLogBeginner.beginLoggingTo([filtered], redirectStandardIO=False)


@implementer(ILogObserver)
class _StderrObserver:
    muted = False

    def __call__(self, event: LogEvent) -> None:
        if self.muted:
            return
        say(formatEvent(event))
        failure = event.get("log_failure")
        if failure is not None:
            sys.stderr.write(failure.getTraceback())
