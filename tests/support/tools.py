"""Runs ``qabel-block`` as an operator does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from attrs import frozen

from tests.support.checkout import CHECKOUT
from tests.support.forkserver import start
from tests.support.waiting import TIMEOUT_SECONDS

MODULE = "qabel_block.cli"
COMMAND = (sys.executable, "-m", MODULE)
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


class RunningTool:
    """A command under way.

    :param module: which is run, as by ``python -m``.
    :ivar process: which may be sent signals.
    """

    def __init__(
        self,
        *words: str,
        environment: dict[str, str] | None = None,
        module: str = MODULE,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="qabel-block-")
        self._out = Path(self._folder.name, "out")
        self._err = Path(self._folder.name, "err")
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = start(
                (module, *words), tool_environment(environment), out, err
            )

    def end(self, seconds: float = SECONDS) -> Ended:
        """Wait for the end, which it reaches within some seconds."""
        with self._folder:
            try:
                status = self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(TIMEOUT_SECONDS)
                raise
            return Ended(status, self._out.read_text(), self._err.read_text())


def run_tool(
    *words: str,
    environment: dict[str, str] | None = None,
    seconds: float = SECONDS,
) -> Ended:
    """Run a command to its end, which it reaches within some seconds."""
    return RunningTool(*words, environment=environment).end(seconds)
