"""--processes is refused where several processes can't work."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.runners import RUNNERS, TWIST, Runner, run_to_the_end


def _refused(runner: Runner, *options: str) -> str:
    ended = run_to_the_end(runner, "--processes", "2", *options)
    assert ended.status == 64
    assert ended.out == ""
    assert ended.err.count("\n") == 1
    return ended.err


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
@RUNNERS
def test_not_shared(runner: Runner, options: tuple[str, ...]) -> None:
    """What only one process can use is named in one line."""
    assert options[0].strip("-").split()[0] in _refused(runner, *options).lower()


@pytest.mark.parametrize("number", ["0", "-1", "two", ""])
def test_wrong_number(number: str) -> None:
    """A number of processes that is none is named in one line."""
    assert "processes" in _refused(TWIST, "--processes", number)


@RUNNERS
def test_log_of_the_runner(runner: Runner, tmp_path: Path) -> None:
    """The log of ``twist`` or ``twistd`` is for one process."""
    option = "--log-file" if runner is TWIST else "--logfile"
    logged = (*runner[:-1], option, str(tmp_path / "log"), runner[-1])
    assert "log option" in _refused(logged)


def test_log_of_a_daemon() -> None:
    """So is the one that a daemon writes if it isn't told where to log."""
    assert "log option" in _refused(("tests.support.twistd", "qabel-block"))
