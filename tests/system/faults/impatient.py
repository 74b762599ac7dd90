"""A server that gives slow clients less time, for tests that have less.

Run as a program it takes the seconds, and what to run then. What the real limits do
is tested with a clock.
"""

from __future__ import annotations

import runpy
import sys

from qabel_block.http.transport.slow_clients import SlowClientWatch


def command(seconds: float) -> tuple[str, ...]:
    """Return what starts such a server, without its options."""
    program = (sys.executable, "-m", __name__, str(seconds))
    return (*program, "twisted", "qabel-block")


if __name__ == "__main__":
    seconds, module, *arguments = sys.argv[1:]
    SlowClientWatch.head_seconds = SlowClientWatch.body_seconds = float(seconds)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
