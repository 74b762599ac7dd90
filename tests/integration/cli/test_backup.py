"""``qabel-block backup``."""

from __future__ import annotations

import http.client
import shutil
from pathlib import Path

import httpx

from tests.support.load import Load, get_and_put
from tests.support.server import ServerProcess
from tests.support.tools import run_tool

TOKEN = {"Authorization": "Token T"}


def test_beside_a_server(tmp_path: Path) -> None:
    """A backup that was made again and again beside a server that takes uploads
    restores to whole objects: it is a standalone directory, and `verify` finds
    nothing missing or damaged in it."""
    home, copy = tmp_path / "home", tmp_path / "copy"
    options = ("--standalone", str(home), "--dummy-auth", "T")
    words = ("backup", "--standalone", str(home), "--into", str(copy), "--json")
    with ServerProcess(*options) as server:
        url = f"{server.url}/api/v0/files/p"
        for content in (b"old", b"new"):
            answer = httpx.put(f"{url}/a", content=content, headers=TOKEN)
            assert answer.status_code == 204

        def connect() -> http.client.HTTPConnection:
            return http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)

        with Load(connect, get_and_put("T"), clients=2):
            first = run_tool(*words)
            second = run_tool(*words)
    assert (first.status, second.status) == (0, 0), first.err + second.err
    (made,) = first.of_kind("backup")
    assert made["blobs"] >= 2
    restored = tmp_path / "restored"
    shutil.copytree(copy, restored)
    checked = run_tool("verify", "--standalone", str(restored), "--json")
    kinds = {one["kind"] for one in checked.said}
    assert kinds <= {"verified", "unknown-blob"}, checked.out
    (verified,) = checked.of_kind("verified")
    assert verified["objects"] >= 1
    with ServerProcess("--standalone", str(restored), "--dummy-auth", "T") as server:
        assert httpx.get(f"{server.url}/api/v0/files/p/a").content == b"new"
    # Nothing is new now, but for what the server itself has written since.
    assert run_tool(*words).of_kind("backup")[0]["blobs"] >= 0


def test_other_kinds(tmp_path: Path) -> None:
    """A ledger or a storage of another kind is refused, and so is a directory in the
    storage."""
    into = ("--into", str(tmp_path / "copy"))
    ended = run_tool("backup", "--psql-dsn", "dbname=x", *into)
    assert ended.status == 2
    assert "docs/operating.md" in ended.err
    home = tmp_path / "home"
    assert run_tool("migrate", "--standalone", str(home)).status == 0
    inside = ("--into", str(home / "objects" / "copy"))
    assert run_tool("backup", "--standalone", str(home), *inside).status == 2
