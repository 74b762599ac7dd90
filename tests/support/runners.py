"""The two programs that run the plugin, ``twist`` and ``twistd``."""

from __future__ import annotations

import pytest

from tests.support.tools import Ended, RunningTool

Runner = tuple[str, ...]
"""A module and its arguments."""

TWIST = ("twisted", "qabel-block")
TWISTD = ("tests.support.twistd", "--nodaemon", "--pidfile=", "qabel-block")

RUNNERS = pytest.mark.parametrize("runner", [TWIST, TWISTD], ids=["twist", "twistd"])


def run_to_the_end(runner: Runner, *options: str) -> Ended:
    """Run a server that ends by itself, since something is wrong with its options."""
    module, *words = runner
    return RunningTool(*words, *options, module=module).end()
