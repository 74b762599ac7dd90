"""Runs ``qabel-block`` as an operator does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from typing import Any

from attrs import frozen

from tests.support.server import CHECKOUT
from tests.support.waiting import TIMEOUT_SECONDS

COMMAND = (sys.executable, "-m", "qabel_block.cli")
SECONDS = 120.0


@frozen
class Ended:
    """A command that has ended.

    :ivar said: what it printed with ``--json``, one entry a line.
    """

    status: int
    out: str
    err: str

    @property
    def said(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """Return the entries of one kind, without naming it again."""
        return [
            {key: value for key, value in entry.items() if key != "kind"}
            for entry in self.said
            if entry["kind"] == kind
        ]


def tool_environment(environment: dict[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a command that runs from the checkout."""
    return {**os.environ, "PYTHONPATH": str(CHECKOUT), **(environment or {})}


def start_tool(
    *words: str, environment: dict[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start a command."""
    return subprocess.Popen(
        [*COMMAND, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=tool_environment(environment),
        cwd=tempfile.gettempdir(),
    )


def run_tool(
    *words: str,
    environment: dict[str, str] | None = None,
    seconds: float = SECONDS,
) -> Ended:
    """Run a command to its end, which it reaches within some seconds."""
    process = start_tool(*words, environment=environment)
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        # Not for the end of its output, which others may hold open.
        process.wait(TIMEOUT_SECONDS)
        raise
    return Ended(process.returncode, out, err)
