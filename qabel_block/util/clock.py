"""Time that only goes forward for whatever waits.

Twisted's reactors take the wall clock for their timers: when that is set back, all of
them stop, and when it is set forward, they all fire.
"""

from __future__ import annotations

import time
from typing import Any


def use_monotonic_clock(reactor: Any) -> None:
    """Let all timers of a reactor keep a time that nobody can set.

    ``reactor.seconds`` is in seconds from whenever then. To be called before there
    are any timers.
    """
    reactor.seconds = time.monotonic
