"""What the process does when it is sent a signal."""

from __future__ import annotations

import signal
from contextlib import suppress
from typing import Any

from twisted.internet.error import ReactorNotRunning


def stop_cleanly_on_sigterm(reactor: Any) -> None:
    """Make SIGTERM end the process with status 0, once everything is done.

    Twisted would stop as cleanly, but then die of the signal, which looks like
    a failure to whoever waits for the process.
    """

    def stop() -> None:
        with suppress(ReactorNotRunning):
            reactor.stop()

    def install() -> None:
        signal.signal(signal.SIGTERM, lambda *_: reactor.callFromThread(stop))

    # The reactor installs its own handlers when it begins to run.
    reactor.callWhenRunning(install)
