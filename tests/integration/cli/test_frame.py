"""What all commands of ``qabel-block`` have in common."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qabel_block.cli.main import COMMANDS, main
from tests.support.tools import Ended, run_tool

SECRET = "pa55word"


def _call(capsys: pytest.CaptureFixture[str], *words: str) -> Ended:
    """Call a command that ends before it does anything, within this process."""
    with pytest.raises(SystemExit) as ended:
        main(words)
    printed = capsys.readouterr()
    return Ended(int(str(ended.value.code)), printed.out, printed.err)


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """The help names all commands and what the exit statuses mean."""
    ended = _call(capsys, "--help")
    assert ended.status == 0
    for word in (*COMMANDS, "Exit status: 0", "2 it could not"):
        assert word in ended.out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command(capsys: pytest.CaptureFixture[str], command: str) -> None:
    """Each command has the server's options of storage and database, and names
    their environment variables."""
    ended = _call(capsys, command, "--help")
    assert ended.status == 0
    for word in ("--psql-dsn", "--local-storage", "--s3-bucket", "--standalone"):
        assert word in ended.out
    assert "QABEL_BLOCK_PSQL_DSN" in ended.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "COMMAND"),
        (("fly",), "invalid choice: 'fly'"),
        (("usage", "--top", "0"), "--top"),
        (("collect", "--grace", "-1"), "--grace"),
        (("collect", "--grac", "1"), "--grac"),
        (("usage", "--psql-dsn", f"mysql://u:{SECRET}@h/d"), "--psql-dsn: neither"),
        (("usage", "--s3-endpoint-url", "ftp://h"), "--s3-endpoint-url: not an http"),
        (("usage", "--standalone", ".", "--local-storage", "."), "exclude each other"),
    ],
)
def test_wrong_usage(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    """A mistake is one line on stderr, and status 2."""
    ended = _call(capsys, *words)
    assert (ended.status, ended.out) == (2, "")
    (line,) = ended.err.splitlines()
    assert line.startswith("qabel-block: ")
    assert said in line
    assert SECRET not in line


def test_environment(tmp_path: Path) -> None:
    """Options come from the environment as well; the command line wins."""
    given = {"QABEL_BLOCK_STANDALONE": str(tmp_path / "a"), "QABEL_BLOCK_PORT": "no"}
    assert run_tool("migrate", environment=given).status == 0
    assert (tmp_path / "a" / "ledger.sqlite").exists()
    typed = ("--standalone", str(tmp_path / "b"))
    assert run_tool("migrate", *typed, environment=given).status == 0
    assert (tmp_path / "b" / "ledger.sqlite").exists()
    wrong = {"QABEL_BLOCK_PSQL_DSN": "http://h"}
    assert "QABEL_BLOCK_PSQL_DSN: neither" in run_tool("usage", environment=wrong).err


@pytest.mark.parametrize("command", COMMANDS)
def test_database_down(command: str) -> None:
    """Without the database nothing can be done: status 2, and no secret is said."""
    dsn = f"postgresql://u:{SECRET}@127.0.0.1:1/d"
    ended = run_tool(command, "--psql-dsn", dsn)
    assert (ended.status, ended.out) == (2, "")
    assert "qabel-block: database: " in ended.err
    assert "Traceback" not in ended.err
    assert SECRET not in ended.err


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "migrate"])
def test_not_migrated(command: str, empty_dsn: str, tmp_path: Path) -> None:
    """On a database without the schema, the command says what to do first."""
    places = ("--psql-dsn", empty_dsn, "--local-storage", str(tmp_path / "objects"))
    ended = run_tool(command, *places)
    assert (ended.status, ended.out) == (2, "")
    (line,) = ended.err.splitlines()
    assert "run: qabel-block migrate" in line


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "migrate"])
def test_mistyped_places(command: str, tmp_path: Path) -> None:
    """A directory that is not there is not made."""
    ended = run_tool(command, "--standalone", str(tmp_path / "mistyped"))
    assert ended.status == 2
    assert "qabel-block: database: its file can't be opened" in ended.err
    assert list(tmp_path.iterdir()) == []


def test_migrate(empty_dsn: str) -> None:
    """`migrate` makes the tables, and does nothing where they are already."""
    first = run_tool("migrate", "--psql-dsn", empty_dsn, "--json")
    second = run_tool("migrate", "--psql-dsn", empty_dsn, "--json")
    (made,), (found,) = first.of_kind("schema"), second.of_kind("schema")
    assert made["before"] is None
    assert found["before"] == found["now"] == made["now"]
    assert (first.status, second.status) == (0, 0)
    text = run_tool("migrate", "--psql-dsn", empty_dsn).out
    assert text == f"the schema was at revision {made['now']} already\n"


def test_json_is_all_there_is(dsn: str, tmp_path: Path) -> None:
    """With `--json` standard output is JSON, one object a line; `--quiet` leaves
    stderr empty."""
    places = ("--psql-dsn", dsn, "--local-storage", str(tmp_path))
    ended = run_tool("collect", *places, "--json", "--quiet")
    assert (ended.status, ended.err) == (0, "")
    assert json.loads(ended.out) == {"kind": "collected", "blobs": 0}
