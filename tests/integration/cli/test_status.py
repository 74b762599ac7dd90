"""``qabel-block status`` and ``qabel-block check-config``."""

from __future__ import annotations

from pathlib import Path

from qabel_block.ledger.migrate import upgrade
from qabel_block.ledger.revisions import HEAD
from tests.support.tools import run_tool

SECRET = "pa55word"
NAMES = ("database", "storage", "cache", "push", "accounts", "garbage")


def test_status(tmp_path: Path) -> None:
    """Without a server it says of each dependency in one word whether it can be
    used, and of the ledger its revision; nothing is written."""
    home = tmp_path / "home"
    words = ("status", "--standalone", str(home), "--json")
    assert run_tool("migrate", "--standalone", str(home)).status == 0
    ended = run_tool(*words)
    found = {one["name"]: one for one in ended.of_kind("status")}
    assert found.keys() == set(NAMES)
    assert {one["status"] for one in found.values()} == {"ok"}, ended.out
    assert found["database"]["revision"] == HEAD
    assert found["storage"]["installation"] == "none yet"
    assert found["garbage"]["waiting"] == 0
    assert ended.status == 0
    assert not (home / "objects").exists()


def test_status_of_redis(redis_address: tuple[str, int], tmp_path: Path) -> None:
    """Cache and push are waited for until Redis is connected to, though no server has
    given the installation an id yet."""
    dsn = f"sqlite:///{tmp_path}/ledger.sqlite"
    upgrade(dsn)
    host, port = redis_address
    ended = run_tool(
        *("status", "--psql-dsn", dsn, "--local-storage", str(tmp_path / "objects")),
        *("--redis-host", host, "--redis-port", str(port), "--dummy-auth", SECRET),
        *("--port", "1", "--json"),
    )
    found = {one["name"]: one for one in ended.of_kind("status")}
    for name in ("cache", "push"):
        assert (found[name]["status"], found[name]["type"]) == ("ok", "Redis")
    assert ended.status == 0
    assert SECRET not in ended.out


def test_status_when_down() -> None:
    """What can't be used is a finding with its reason, and no secret is said."""
    ended = run_tool(
        *("status", "--psql-dsn", f"postgresql://u:{SECRET}@127.0.0.1:1/d"),
        *("--redis-port", "1", "--accounting-host", "http://127.0.0.1:1", "--json"),
        *("--local-storage", "/tmp"),
    )
    found = {one["name"]: one for one in ended.of_kind("status")}
    assert ended.status == 1, ended.err
    for name in NAMES:
        assert found[name]["status"] == "failed"
        assert found[name]["reason"]
    assert SECRET not in ended.out + ended.err


def test_check_config(tmp_path: Path) -> None:
    """Good options are said in words, without secrets; wrong ones are one line."""
    file = tmp_path / "environment"
    file.write_text(f"QABEL_BLOCK_PSQL_DSN='host=h password={SECRET}'\n")
    words = ("check-config", "--env-file", str(file), "--dummy-auth", SECRET)
    ended = run_tool(*words, "--listen", "tcp:1", "--listen", "tcp:2", "--debug")
    assert ended.status == 0, ended.err
    for line in ("listen:    tcp:1, tcp:2", "database:  PostgreSQL", "bucket qabel"):
        assert line in ended.out
    assert SECRET not in ended.out
    for wrong in (("--max-body-size", "x"), ("--x-accel-redirect", "/blobs")):
        ended = run_tool("check-config", *wrong)
        assert (ended.status, ended.out) == (2, "")
        (line,) = ended.err.splitlines()
        assert wrong[0] in line
