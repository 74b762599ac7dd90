"""Runs programs that permissions concern, also where tests run as root."""

from __future__ import annotations

import os
import subprocess

from tests.support.tools import COMMAND, SECONDS, Ended, tool_environment

_DROP = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")


def run_unprivileged(*words: str, command: tuple[str, ...] = COMMAND) -> Ended:
    """Run a command to its end, by default ``qabel-block``."""
    ended = subprocess.run(
        [*(_DROP if os.geteuid() == 0 else ()), *command, *words],
        env=tool_environment(),
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)
