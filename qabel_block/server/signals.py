"""Handles SIGTERM and SIGHUP."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from twisted.internet.error import ReactorNotRunning


def handle_signals(
    reactor: Any, abort_inflight: Callable[[], None], reload: Callable[[], None]
) -> None:
    """Make SIGTERM end the process with status 0, once everything is done.

    Twisted would stop as cleanly, but then die of the signal, which looks like
    a failure to whoever waits for the process.

    :param abort_inflight: called for every further SIGTERM.
    :param reload: called for SIGHUP, which would end the process otherwise.
    """
    _on(signal.SIGHUP, reactor, reload)
    stop_on((signal.SIGTERM,), reactor, abort_inflight)


def stop_on(
    numbers: Iterable[signal.Signals], reactor: Any, abort_inflight: Callable[[], None]
) -> None:
    """Make signals stop the reactor, which may be about to run.

    :param abort_inflight: called for every further signal.
    """
    stopping = False

    def terminate() -> None:
        nonlocal stopping
        if stopping:
            abort_inflight()
            return
        stopping = True
        with suppress(ReactorNotRunning):
            reactor.stop()

    for number in numbers:
        # The reactor installs handlers of its own when it begins to run.
        reactor.callWhenRunning(_on, number, reactor, terminate)


def _on(number: signal.Signals, reactor: Any, action: Callable[[], None]) -> None:
    signal.signal(number, lambda *_: reactor.callFromThread(action))
