"""What all commands of ``qabel-block`` have in common."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from qabel_block.cli.commands import COMMANDS
from qabel_block.cli.main import main
from qabel_block.config.options import BY_NAME
from qabel_block.ledger.migrate import upgrade
from qabel_block.ledger.revisions import HEAD
from tests.integration.ledger.support import change
from tests.support.legacy import LEGACY, make_legacy_tables
from tests.support.tools import COMMAND, Ended, run_tool, tool_environment
from tests.support.unprivileged import run_unprivileged

SECRET = "pa55word"
APART = {"status", "check-config", "backup"}
"""Commands that report what others fail for, or that need further words."""
COMPLETE = [
    name
    for name in COMMANDS
    if (" " not in name or name == "user list") and name not in APART
]
"""Commands that need no further words, of each group one."""


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
    for word in (
        *(name.split()[0] for name in COMMANDS),
        "Exit status: 0",
        "2 it could not",
    ):
        assert word in ended.out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command(capsys: pytest.CaptureFixture[str], command: str) -> None:
    """Each command lists those of the server's options that it uses, and no other, and
    names their environment variables."""
    ended = _call(capsys, *command.split(), "--help")
    assert ended.status == 0
    options = COMMANDS[command].load().options
    assert {"psql-dsn", "standalone"} <= set(options)
    listed = set(re.findall(r"(?m)^  --([\w-]+)", ended.out))
    assert listed & BY_NAME.keys() == set(options)
    for word in ("QABEL_BLOCK_PSQL_DSN", "--psql-dsn DSN", "--env-file FILE"):
        assert word in ended.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "COMMAND"),
        (("fly",), "invalid choice: 'fly'"),
        (("usage", "--top", "0"), "--top"),
        (("collect", "--grace", "-1"), "--grace"),
        (("collect", "--grac", "1"), "--grac"),
        (("usage", "--psql-dsn", f"mysql://u:{SECRET}@h/d"), "--psql-dsn: neither"),
        (("collect", "--s3-endpoint-url", "ftp://h"), "--s3-endpoint-url: not an http"),
        (("collect", "--standalone", ".", "--local-storage", "."), "exclude each"),
        (("usage", "--local-storage", "."), "has no option --local-storage;"),
        (("usage", f"--psql-dns={SECRET}"), "has no option --psql-dns;"),
        (("usage", SECRET), "takes only options"),
        (("usage", "--env-file", "/nowhere"), "--env-file: can't read /nowhere:"),
        (("usage", "--env-file", "/dev"), "--env-file: can't read /dev:"),
        (("usage", "--psql-dsn", "host=\nh"), "--psql-dsn: there is a control"),
        (("--json", "user", "list"), "the command comes first, and then --json"),
        (("user", "--json", "list"), "the command comes first, and then --json"),
        (("--psql-dsn", SECRET, "usage"), "comes first, and then --psql-dsn"),
        ((f"--psql-dsn={SECRET}", "usage"), "comes first, and then --psql-dsn"),
        (("usage", "--top", "9" * 23), "--top: "),
        (("collect", "--grace", "9" * 14), "--grace: "),
        (("collect", "--grace", "9" * 100), "--grace: "),
        (("collect", "--garbage-grace", str(2**31)), "is too large"),
        (("usage", "--standalone", f"/{'a' * 5000}"), "File name too long"),
        (("collect", "--local-storage", f"/{'a' * 5000}/b"), "File name too long"),
        (("usage", "--psql-dsn", f"sqlite:////{'a' * 5000}"), "File name too long"),
        (("usage", "--standalone", "~no-such-user/a"), "there is no such user"),
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


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("user", "list", "--standalone", "closed/data"), "--standalone: "),
        (("collect", "--local-storage", "closed/objects"), "--local-storage: "),
        (("usage", "--psql-dsn", "sqlite:///closed/l"), "--psql-dsn: "),
        (("user", "list", "--standalone", "closed"), "database: "),
        (("user", "add", "bob", "--standalone", "closed"), "database: "),
        (("verify", "--standalone", "closed"), "database: "),
    ],
)
def test_no_permission(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    """A path that may not be looked at is one line, which names it, and status 2."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    ended = run_unprivileged(*(word.replace("closed", str(closed)) for word in words))
    (line,) = ended.err.splitlines()
    assert (ended.status, ended.out) == (2, "")
    assert line.startswith(f"qabel-block: {said}{closed}/")
    assert line.endswith(": Permission denied")


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


def test_unknown_variable() -> None:
    """A variable that nobody reads is a mistake here, too."""
    ended = run_tool("usage", environment={"QABEL_BLOCK_PSQL_DNS": SECRET})
    assert ended.status == 2
    assert "did you mean QABEL_BLOCK_PSQL_DSN?" in ended.err
    assert SECRET not in ended.err


def test_env_file(tmp_path: Path) -> None:
    """With `--env-file` variables come from a file, in which a shell would cut
    them; they win over the environment, and the command line over both."""
    (tmp_path / "a & b").mkdir()
    file = tmp_path / "environment"
    file.write_text(
        "# where it is\n"
        f'QABEL_BLOCK_PSQL_DSN="sqlite:///{tmp_path}/a & b/ledger"\n'
        "QABEL_BLOCK_APISECRET=a & b; c\n"
    )
    other = {"QABEL_BLOCK_PSQL_DSN": "dbname=x"}
    words = ("migrate", "--env-file", str(file))
    assert run_tool(*words, environment=other).status == 0
    assert (tmp_path / "a & b" / "ledger").exists()
    typed = f"sqlite:///{tmp_path}/typed"
    assert run_tool(*words, "--psql-dsn", typed).status == 0
    assert (tmp_path / "typed").exists()


@pytest.mark.parametrize("command", COMPLETE)
def test_database_down(command: str) -> None:
    """Without the database nothing can be done: status 2, and no secret is said."""
    dsn = f"postgresql://u:{SECRET}@127.0.0.1:1/d"
    ended = run_tool(*command.split(), "--psql-dsn", dsn)
    assert (ended.status, ended.out) == (2, "")
    assert "qabel-block: database: " in ended.err
    assert "Traceback" not in ended.err
    assert SECRET not in ended.err


@pytest.mark.parametrize("command", [name for name in COMPLETE if name != "migrate"])
def test_not_migrated(command: str, empty_dsn: str, tmp_path: Path) -> None:
    """On a database without the schema, the command says what to do first."""
    places = ["--psql-dsn", empty_dsn]
    if "local-storage" in COMMANDS[command].load().options:
        places += ["--local-storage", str(tmp_path / "objects")]
    ended = run_tool(*command.split(), *places)
    assert (ended.status, ended.out) == (2, "")
    (line,) = ended.err.splitlines()
    assert "run: qabel-block migrate" in line


@pytest.mark.parametrize("command", [name for name in COMPLETE if name != "migrate"])
def test_mistyped_places(command: str, tmp_path: Path) -> None:
    """A directory that is not there is not made."""
    ended = run_tool(*command.split(), "--standalone", str(tmp_path / "mistyped"))
    assert ended.status == 2
    (line,) = ended.err.splitlines()
    assert f"there is no file {tmp_path}/mistyped/ledger.sqlite" in line
    assert "run: qabel-block migrate" in line
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


def test_migrate_to(empty_dsn: str) -> None:
    """`migrate --to` brings the tables to another revision, there and back."""
    words = ("migrate", "--psql-dsn", empty_dsn)
    for words_to, before, now in (
        (("--to", LEGACY), "none", LEGACY),
        ((), LEGACY, HEAD),
        (("--to", LEGACY), HEAD, LEGACY),
    ):
        ended = run_tool(*words, *words_to)
        assert ended.status == 0
        assert ended.out == f"the schema is at revision {now} now; before: {before}\n"
    ended = run_tool(*words, "--to", "0123")
    assert ended.status == 2
    assert f"there is no revision 0123; there are: {LEGACY}, " in ended.err


def test_migrate_newer(dsn: str) -> None:
    """A database that a newer version has migrated is left alone, in one line."""
    change(dsn, "UPDATE alembic_version SET version_num = '0123456789ab'")
    ended = run_tool("migrate", "--psql-dsn", dsn)
    assert (ended.status, ended.out) == (2, "")
    (line,) = ended.err.splitlines()
    assert "0123456789ab" in line
    assert "newer" in line


def test_migrate_older_legacy(empty_dsn: str) -> None:
    """A legacy database at an older revision has to be brought to its last first, as
    one line says."""
    make_legacy_tables(empty_dsn)
    change(empty_dsn, "UPDATE alembic_version SET version_num = '0123456789ab'")
    ended = run_tool("migrate", "--psql-dsn", empty_dsn)
    assert (ended.status, ended.out) == (2, "")
    (line,) = ended.err.splitlines()
    assert "0123456789ab of the legacy server" in line
    assert f"own migrations bring it to revision {LEGACY} first" in line


def test_json_is_all_there_is(dsn: str, tmp_path: Path) -> None:
    """With `--json` standard output is JSON, one object a line; `--quiet` leaves
    stderr empty."""
    places = ("--psql-dsn", dsn, "--local-storage", str(tmp_path))
    ended = run_tool("collect", *places, "--json", "--quiet")
    assert (ended.status, ended.err) == (0, "")
    said = json.loads(ended.out)
    assert (said["kind"], said["blobs"], said["waiting"]) == ("collected", 0, 0)


@pytest.mark.parametrize(
    "words",
    [
        ("--version",),
        ("nonsense",),
        ("collect", "--psql-dsn", "sqlite:////nowhere/ledger"),
        ("usage", "--psql-dsn", "sqlite:////nowhere/ledger", "--json"),
    ],
)
def test_forked_as_started(words: tuple[str, ...]) -> None:
    """A command that tests fork ends and writes as one does that is started."""
    forked = run_tool(*words)
    ended = subprocess.run(
        [*COMMAND, *words],
        env=tool_environment(),
        cwd=tempfile.gettempdir(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert forked == Ended(ended.returncode, ended.stdout, ended.stderr)


def test_nothing_is_imported_in_vain(tmp_path: Path) -> None:
    """A command imports neither what migrates nor drivers of what it does not use,
    which would take longer than the command."""
    dsn = f"sqlite:///{tmp_path}/ledger.sqlite"
    upgrade(dsn)
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", *COMMAND[1:], "user", "list"],
        env=tool_environment({"QABEL_BLOCK_PSQL_DSN": dsn}),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    lines = ended.stderr.splitlines()
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}
    assert {"sqlalchemy", "sqlite3"} <= imported
    assert imported.isdisjoint(
        {"alembic", "boto3", "botocore", "klein", "prometheus_client", "rich", "treq"}
    )
    assert imported.isdisjoint({"psycopg2", "txpostgres", "txredisapi"})
