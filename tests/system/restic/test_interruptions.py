"""Servers and proxies that fail while restic works."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from qabel_block.ledger.migrate import upgrade
from tests.support.database import query
from tests.support.nginx import nginx_before
from tests.support.ports import free_port
from tests.support.postgres import NewDatabase
from tests.support.restic import Restic, same_files, write_files
from tests.support.server import ServerProcess
from tests.support.tcp_proxy import TcpProxy
from tests.support.tools import run_tool
from tests.support.waiting import wait_for

PACK = 4_194_304
"""Bytes of the smallest packs that restic can be told to make."""

SLOWLY = ("--pack-size", "4", "--limit-upload", "8000")
"""So that there is time to kill somebody; KiB a second."""


@pytest.fixture
def files(home: Path) -> Path:
    """What is to be backed up: some packs."""
    folder = home / "files"
    write_files(folder, {f"file-{n}": PACK for n in range(6)})
    return folder


@pytest.fixture
def standalone(home: Path) -> Iterator[ServerProcess]:
    """A server that can be started again on its port."""
    options = ("--standalone", str(home / "server"), "--dummy-auth", "T")
    with ServerProcess(*options, "--port", str(free_port())) as server:
        yield server


def stored_packs(dsn: str) -> int:
    ((count,),) = query(dsn, "SELECT count(*) FROM objects WHERE path LIKE 'data/%'")
    return int(count)


def holds(restic: Restic, files: Path) -> None:
    """See that a repository is without errors, and holds what was backed up."""
    restic.succeed("unlock")
    assert "no errors were found" in restic.succeed("check", "--read-data")
    assert same_files(Path(f"{restic.restored()}{files}"), files)


def test_kill(standalone: ServerProcess, home: Path, files: Path) -> None:
    """A server that is killed during a backup and started again on its port: the
    same backup succeeds, and nothing is lost or left over."""
    dsn = f"sqlite:///{home / 'server' / 'ledger.sqlite'}"
    restic = Restic(standalone.url, "T", "laptop", home)
    restic.succeed("init")
    backup = restic.start("backup", str(files), *SLOWLY)
    for packs in (1, 3):
        wait_for(lambda packs=packs: stored_packs(dsn) >= packs)  # type: ignore[misc]
        standalone.kill()
        standalone.start()
    ended = backup.wait()
    assert ended.status == 0, ended.output
    assert "retrying" in ended.output
    holds(restic, files)
    standalone.stop()
    verified = run_tool("verify", "--standalone", str(home / "server"), "--json")
    assert verified.status == 0, verified


def test_lost_answers(standalone: ServerProcess, home: Path, files: Path) -> None:
    """A 200 that a proxy cuts off is asked for again, and then succeeds."""
    with TcpProxy(("127.0.0.1", standalone.port)) as proxy:
        restic = Restic(f"http://127.0.0.1:{proxy.port}", "T", "laptop", home)
        restic.succeed("init")
        for kind in (b"data", b"index", b"snapshots", b"locks"):
            write_files(files, {kind.decode(): 1000})
            proxy.cut_once_at(b"POST /restic/laptop/%s/" % kind, deliver=True)
            said = restic.succeed("backup", str(files))
            assert not proxy.waits
            assert "returned error, retrying" in said
        holds(restic, files)


def test_two_nodes(new_postgres_database: NewDatabase, home: Path, files: Path) -> None:
    """Of two nodes behind nginx one is killed during a backup, which succeeds."""
    dsn = new_postgres_database()
    upgrade(dsn)
    options = (
        *("--psql-dsn", dsn, "--local-storage", str(home / "objects")),
        *("--dummy-auth", "T", "--dummy-cache"),
    )
    with ExitStack() as stack:
        nodes = [stack.enter_context(ServerProcess(*options)) for _ in range(2)]
        url = stack.enter_context(nginx_before([node.port for node in nodes]))
        restic = Restic(url, "T", "laptop", home)
        restic.succeed("init")
        backup = restic.start("backup", str(files), *SLOWLY)
        wait_for(lambda: stored_packs(dsn) >= 2)
        nodes[0].kill()
        ended = backup.wait()
        assert ended.status == 0, ended.output
        holds(restic, files)
    verified = run_tool("verify", *options[:4], "--json")
    assert verified.status == 0, verified
