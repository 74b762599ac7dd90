"""--processes is refused where several processes can't work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.checkout import CHECKOUT

TWIST = ("-m", "twisted")
TWISTD = ("-c", "from twisted.scripts.twistd import run; run()")


def _refused(runner: tuple[str, ...], *options: str) -> str:
    ended = subprocess.run(
        [sys.executable, *runner, "qabel-block", "--processes", "2", *options],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        check=False,
    )
    assert ended.returncode == 64
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1
    return ended.stderr


@pytest.mark.parametrize(
    "options",
    [
        ("--standalone", "/tmp/never-made"),
        ("--dummy",),
        ("--dummy-cache",),
        ("--psql-dsn", "sqlite:////tmp/never-made"),
        ("--logging", "none"),
    ],
    ids=lambda options: options[0],
)
@pytest.mark.parametrize("runner", [TWIST, TWISTD], ids=["twist", "twistd"])
def test_not_shared(runner: tuple[str, ...], options: tuple[str, ...]) -> None:
    """What only one process can use is named in one line."""
    assert options[0].strip("-").split()[0] in _refused(runner, *options).lower()


@pytest.mark.parametrize("number", ["0", "-1", "two", ""])
def test_wrong_number(number: str) -> None:
    """A number of processes that is none is named in one line."""
    assert "processes" in _refused(TWIST, "--processes", number)


@pytest.mark.parametrize("runner", [TWIST, TWISTD], ids=["twist", "twistd"])
def test_log_of_the_runner(runner: tuple[str, ...], tmp_path: Path) -> None:
    """The log of ``twist`` or ``twistd`` is for one process."""
    option = "--log-file" if runner is TWIST else "--logfile"
    assert "log option" in _refused((*runner, option, str(tmp_path / "log")))


def test_log_of_a_daemon() -> None:
    """So is the one that a daemon writes if it isn't told where to log."""
    assert "log option" in _refused(TWISTD)
