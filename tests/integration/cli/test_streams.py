"""Standard streams that are closed, full, or read by nobody."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.integration.cli.conftest import Installation, on_sqlite
from tests.support.tools import COMMAND, SECONDS, Ended, tool_environment

pytestmark = on_sqlite

LOST = "could not be shown and is revoked; for another, run: qabel-block token add bob"


def _run(local: Installation, redirection: str, *words: str) -> Ended:
    """Run a command in a shell, with a redirection."""
    ended = subprocess.run(
        [
            *("bash", "-o", "pipefail", "-c", f'"$@" {redirection}', "bash"),
            *(*COMMAND, *words, *local.places),
        ],
        env=tool_environment(),
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


@pytest.fixture
def bob(local: Installation) -> Installation:
    assert local.run("user", "add", "bob").status == 0
    return local


def test_nobody_reads(bob: Installation) -> None:
    """Once nobody reads what a command prints it ends as others do, without a word."""
    for words in (("user", "list"), ("verify", "--quiet")):
        assert _run(bob, "| sleep 0", *words) == Ended(141, "", "")


def test_much_that_nobody_reads(local: Installation, tmp_path: Path) -> None:
    """So it does in the middle of its work."""
    for number in range(2000):
        blob = tmp_path / f"objects/{number}-{'x' * 30}/a~01ARZ3NDEKTSV4RRFFQ69G5FAV"
        blob.parent.mkdir()
        blob.touch()
    ended = _run(local, "| head -1", "verify", "--quiet")
    assert (ended.status, ended.err) == (141, "")
    assert ended.out.count("\n") == 1


@pytest.mark.parametrize(
    ("redirection", "why"),
    [
        (">/dev/full", "No space left on device"),
        (">&-", "Bad file descriptor"),
        ("<&- >&-", "Bad file descriptor"),
    ],
)
def test_nothing_can_be_written(bob: Installation, redirection: str, why: str) -> None:
    """Results that can't be written are one line, and status 2."""
    ended = _run(bob, redirection, "user", "list")
    assert ended == Ended(2, "", f"qabel-block: standard output: {why}\n")


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", "<&- 2>&-"])
def test_nothing_can_be_said(bob: Installation, redirection: str) -> None:
    """What stderr does not take changes no status."""
    assert _run(bob, redirection, "user", "list").status == 0
    assert _run(bob, redirection, "user", "show", "carol").status == 1
    assert _run(bob, redirection, "user", "fly").status == 2
    assert _run(bob, redirection, "verify").status == 0


def test_no_answer(bob: Installation) -> None:
    """Where no answer can be read the answer is no."""
    ended = _run(bob, "<&-", "user", "delete", "bob")
    assert ended.status == 2
    assert ended.err.endswith("qabel-block: not confirmed: nothing is deleted\n")


@pytest.mark.parametrize("words", [("user", "add"), ("token", "add")], ids=" ".join)
@pytest.mark.parametrize("redirection", [">/dev/full", "| sleep 0"])
def test_token_that_nobody_sees(
    local: Installation, redirection: str, words: tuple[str, ...]
) -> None:
    """A token that can't be printed is revoked, in one line that says what to do."""
    if words == ("token", "add"):
        assert local.run("user", "add", "bob").status == 0
    ended = _run(local, redirection, *words, "bob")
    (line,) = ended.err.splitlines()
    assert ended.status == 2
    assert line.startswith("qabel-block: standard output: ")
    assert line.endswith(LOST)
    assert local.run("token", "list", "bob").said[-1]["state"] == "revoked"


def test_no_token_for_nobody(local: Installation) -> None:
    """Where nothing can be printed from the beginning no user is made."""
    ended = _run(local, ">&-", "user", "add", "bob")
    assert (ended.status, len(ended.err.splitlines())) == (2, 1)
    assert local.run("user", "list").said == []
