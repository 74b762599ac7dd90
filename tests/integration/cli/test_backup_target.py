"""Where ``qabel-block backup`` writes, and where it must not."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from qabel_block.cli.backup_target import BackupTarget
from qabel_block.storage.local.layout import INCOMING
from tests.support.server import ServerProcess
from tests.support.tools import Ended, RunningTool, run_tool
from tests.support.waiting import TIMEOUT_SECONDS

TOKEN = {"Authorization": "Token T"}
LARGE = 64 * 1024 * 1024


def _server(home: Path) -> ServerProcess:
    return ServerProcess("--standalone", str(home), "--dummy-auth", "T")


def _put(server: ServerProcess, path: str, content: bytes = b"x") -> None:
    url = f"{server.url}/api/v0/files/p/{path}"
    assert httpx.put(url, content=content, headers=TOKEN).status_code == 204


def _get(server: ServerProcess, path: str) -> bytes:
    answer = httpx.get(f"{server.url}/api/v0/files/p/{path}")
    assert answer.status_code == 200
    return answer.content


def _words(home: Path, into: Path | str) -> tuple[str, ...]:
    places = ("--standalone", str(home), "--into", str(into))
    return ("backup", *places, "--json", "--quiet")


def _backup(home: Path, into: Path | str) -> Ended:
    return run_tool(*_words(home, into))


def _installation(home: Path) -> Path:
    """Make an installation with one object, and return its directory."""
    with _server(home) as server:
        _put(server, "a", home.name.encode())
    return home


def _tree(root: Path) -> dict[str, tuple[int, int, int]]:
    """Return which files there are, and what would be others if they were replaced or
    written to."""
    found = {}
    for path in root.rglob("*"):
        it = path.lstat()
        found[str(path)] = (it.st_ino, it.st_size, it.st_mtime_ns)
    return found


def _unfinished(copy: Path) -> list[Path]:
    """Return the files that are not whole yet."""
    return list((copy / "objects" / INCOMING).glob("*"))


def _verify(copy: Path) -> None:
    checked = run_tool("verify", "--standalone", str(copy), "--json")
    assert checked.status == 0, checked.out


def _refused(ended: Ended, *words: str) -> None:
    assert ended.status == 2, ended.out + ended.err
    (line,) = ended.err.splitlines()
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    "spell",
    [
        lambda home: home,
        lambda home: f"{home}/objects/..",
        lambda home: f"{home}/../link",
    ],
    ids=["plain", "dots", "link"],
)
def test_own_directory(tmp_path: Path, spell: Callable[[Path], Path | str]) -> None:
    """Beside a server, its own directory is refused before anything in it is touched,
    however it is spelled; no upload is lost."""
    home = tmp_path / "home"
    (tmp_path / "link").symlink_to(home)
    with _server(home) as server:
        _put(server, "a", b"1")
        before = _tree(home)
        _refused(_backup(home, spell(home)), "the ledger itself")
        assert _tree(home).keys() == before.keys()
        assert (
            _tree(home)[f"{home}/ledger.sqlite-wal"][0]
            == (before[f"{home}/ledger.sqlite-wal"][0])
        )
        _put(server, "b", b"2")
    with _server(home) as server:
        assert (_get(server, "a"), _get(server, "b")) == (b"1", b"2")


def test_ledger_of_another_name(tmp_path: Path) -> None:
    """A link to the ledger is the ledger."""
    home = _installation(tmp_path / "home")
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "ledger.sqlite").symlink_to(home / "ledger.sqlite")
    before = _tree(tmp_path)
    _refused(_backup(home, tmp_path / "copy"), "the ledger itself")
    assert _tree(tmp_path) == before


@pytest.mark.parametrize(
    "into",
    ["objects", "objects/new", "x/../objects/new", "link/new", "outer", "inner"],
)
def test_storage_within_the_backup(tmp_path: Path, into: str) -> None:
    """Neither may the copy be within the storage nor the storage within the copy,
    whatever links and dots hide it."""
    home = _installation(tmp_path / "home")
    (home / "x").mkdir()
    (home / "link").symlink_to("objects")
    (home / "outer").mkdir()
    (home / "outer" / "objects").symlink_to("../objects")
    (home / "inner").mkdir()
    (home / "inner" / "objects").symlink_to("..")
    before = _tree(tmp_path)
    _refused(_backup(home, home / into), "within the storage")
    assert _tree(tmp_path) == before


@pytest.mark.parametrize("kind", ["home", "copy", "ledger", "objects", "older"])
def test_another_installation(tmp_path: Path, kind: str) -> None:
    """The directory of another installation, a copy of it, or a part of one, is
    refused before anything in it is touched."""
    home, other = (_installation(tmp_path / name) for name in ("home", "other"))
    if kind == "copy":
        assert _backup(other, tmp_path / "copy").status == 0
        other = tmp_path / "copy"
    elif kind == "ledger":
        shutil.rmtree(other / "objects")
    elif kind == "objects":
        for path in other.glob("ledger*"):
            path.unlink()
    elif kind == "older":  # of a version that knew no ids
        (other / "objects" / ".qabel-block-installation").unlink()
        with closing(sqlite3.connect(other / "ledger.sqlite")) as connection:
            connection.execute("DROP TABLE installation")
    before = _tree(other)
    _refused(_backup(home, other), "another installation")
    assert _tree(other) == before


def test_directory_that_can_not_be_used(tmp_path: Path) -> None:
    """What is no directory, or has something else in the ledger's place, is refused
    with one line and kept."""
    home, into = _installation(tmp_path / "home"), tmp_path / "into"
    (into / "odd").mkdir(parents=True)
    (into / "odd" / "ledger.sqlite").write_text("no database, but somebody's")
    (into / "loop").symlink_to("loop")
    (into / "file").touch()
    before = _tree(into)
    for name in ("loop", "file", "missing/copy"):
        _refused(_backup(home, into / name), "can't back up into", name)
    _refused(_backup(home, into / "odd"), "can't be told whose ledger")
    assert _tree(into) == before


def test_another_installation_that_has_crashed(tmp_path: Path) -> None:
    """The id that a ledger has in the log beside it counts as well."""
    home, other = _installation(tmp_path / "home"), tmp_path / "other"
    with _server(other) as server:
        _put(server, "a")
        live = tmp_path / "live"
        shutil.copytree(other, live)
    shutil.rmtree(live / "objects")
    assert (live / "ledger.sqlite-wal").stat().st_size
    before = (live / "ledger.sqlite-wal").read_bytes()
    _refused(_backup(home, live), "another installation")
    assert (live / "ledger.sqlite-wal").read_bytes() == before


def test_server_on_the_copy(tmp_path: Path) -> None:
    """While a server runs on the copy, no backup replaces its ledger."""
    home, copy = _installation(tmp_path / "home"), tmp_path / "copy"
    assert _backup(home, copy).status == 0
    with _server(copy) as server:
        _put(server, "b")
        before = _tree(copy)
        _refused(_backup(home, copy), "a server is running")
        assert _tree(copy).keys() == before.keys()
        _put(server, "c")
    with _server(copy) as server:
        assert _get(server, "b") == _get(server, "c") == b"x"


def test_ledger_of_the_copy_in_use(tmp_path: Path) -> None:
    """A server that uses the copy's ledger without --standalone keeps it, too."""
    home, copy = _installation(tmp_path / "home"), tmp_path / "copy"
    assert _backup(home, copy).status == 0
    server = ServerProcess(
        *("--psql-dsn", f"sqlite:///{copy}/ledger.sqlite"),
        *("--local-storage", str(copy / "objects")),
        *("--dummy-auth", "T", "--dummy-cache"),
    )
    with closing(sqlite3.connect(copy / "ledger.sqlite")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    with server:
        _put(server, "b")
        _refused(_backup(home, copy), "ledger.sqlite is in use")
        assert _get(server, "b") == b"x"


def test_log_beside_the_copy(tmp_path: Path) -> None:
    """What a server has left beside the copy's ledger is not played into the next."""
    home, copy = _installation(tmp_path / "home"), tmp_path / "copy"
    with _server(home) as server:
        _put(server, "b", b"b")
        shutil.copytree(home, copy)  # as after a crash
    assert (copy / "ledger.sqlite-wal").stat().st_size
    with _server(home) as server:
        _put(server, "a", b"newer")
    ended = _backup(home, copy)
    assert ended.status == 0, ended.err
    assert not (copy / "ledger.sqlite-wal").exists()
    with _server(copy) as server:
        assert (_get(server, "a"), _get(server, "b")) == (b"newer", b"b")


def test_ledger_that_is_not_replaced(tmp_path: Path) -> None:
    """Until the new ledger is in its place, the copy has all of the older one, with
    what is in the log beside that."""
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        with connection:
            connection.execute("CREATE TABLE installation (id TEXT, confirmed TEXT)")
            connection.execute("INSERT INTO installation VALUES ('mine', NULL)")
        copy = tmp_path / "copy"
        copy.mkdir()
        for name in ("ledger.sqlite", "ledger.sqlite-wal"):
            shutil.copy(tmp_path / name, copy)
    target = BackupTarget(copy)
    with target.hold("mine"), pytest.raises(FileNotFoundError):
        target.replace_ledger(copy / "missing")
    with closing(sqlite3.connect(target.ledger)) as connection:
        rows = connection.execute("SELECT id FROM installation").fetchall()
    assert rows == [("mine",)]


def test_two_backups(tmp_path: Path) -> None:
    """While one backup writes into a directory a second one is refused. What the first
    leaves when it is killed is nothing that verify finds, the older copy is as good as
    it was, and the next backup removes what is left."""
    home, copy = _installation(tmp_path / "home"), tmp_path / "copy"
    assert _backup(home, copy).status == 0
    with _server(home) as server:
        _put(server, "large", b"a" * LARGE)
    first = RunningTool(*_words(home, copy))
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not _unfinished(copy):
        assert time.monotonic() < deadline
    first.process.send_signal(signal.SIGSTOP)
    assert _unfinished(copy)
    _refused(_backup(home, copy), "another backup is writing")
    first.process.kill()
    first.end()
    assert _unfinished(copy)
    _verify(copy)
    assert _backup(home, copy).status == 0
    assert not _unfinished(copy)
    _verify(copy)


def test_failed_backup(tmp_path: Path) -> None:
    """A backup that fails leaves nothing in the copy that verify finds."""
    home, copy = _installation(tmp_path / "home"), tmp_path / "copy"
    assert _backup(home, copy).status == 0
    with _server(home) as server:
        _put(server, "b")
    (new,) = (home / "objects" / "p").glob("b~*")
    obstacle = copy / "objects" / "p" / new.name
    (obstacle / "x").mkdir(parents=True)
    _refused(_backup(home, copy), "can't back up into")
    shutil.rmtree(obstacle)
    _verify(copy)
    assert _backup(home, copy).status == 0
    _verify(copy)


def test_count(tmp_path: Path) -> None:
    """Blobs are counted, and nothing else."""
    home, copy = tmp_path / "home", tmp_path / "copy"
    with _server(home):
        pass
    (first,) = _backup(home, copy).of_kind("backup")
    assert (first["blobs"], first["bytes"]) == (0, 0)
    assert (copy / "objects" / ".qabel-block-installation").exists()
    with _server(home) as server:
        _put(server, "a", b"123")
    (second,) = _backup(home, copy).of_kind("backup")
    assert (second["blobs"], second["bytes"], second["findings"]) == (1, 3, 0)


def test_blob_that_is_lost(tmp_path: Path) -> None:
    """Objects of the copied ledger whose blob is not in the copy, whole, are named,
    and the status is that of findings."""
    home, copy = tmp_path / "home", tmp_path / "copy"
    with _server(home) as server:
        for name in ("gone", "cut", "good"):
            _put(server, name, b"123")
    blobs = home / "objects" / "p"
    (gone,), (cut,) = blobs.glob("gone~*"), blobs.glob("cut~*")
    gone.unlink()
    cut.write_bytes(b"1")
    ended = _backup(home, copy)
    assert ended.status == 1, ended.err
    assert ended.of_kind("missing-blob") == [{"prefix": "p", "path": "gone"}]
    assert ended.of_kind("wrong-size") == [{"prefix": "p", "path": "cut", "size": 1}]
    assert ended.of_kind("backup")[0]["findings"] == 2
    with _server(copy) as server:
        assert _get(server, "good") == b"123"


def test_file_system_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where files can't be locked, there may be backups nevertheless; what may be
    another's file is left alone."""

    def fail(_descriptor: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", fail)
    target = BackupTarget(tmp_path / "copy")
    with target.hold("mine"), target.new_file(target.objects) as theirs:
        with target.hold("mine"), target.new_file(target.directory) as new:
            new.write_bytes(b"ledger")
            target.replace_ledger(new)
        assert theirs.exists()
    assert target.ledger.read_bytes() == b"ledger"
    assert not theirs.exists()
