"""The same options under ``twist`` and ``twistd``, and what the two log."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Protocol

import httpx
import pytest

from qabel_block.ledger.migrate import upgrade
from tests.support.forkserver import Process, start
from tests.support.runners import RUNNERS, TWIST, TWISTD, Runner, run_to_the_end
from tests.support.server import ServerProcess, log_records
from tests.support.tools import tool_environment
from tests.support.waiting import wait_for

PROCESSES = pytest.mark.parametrize(
    ("runner", "processes"), [(TWIST, 1), (TWISTD, 2)], ids=["twist", "twistd, workers"]
)
TOKEN = "token-of-the-runner"


def _server(
    runner: Runner, home: Path, *options: str, **environment: str
) -> ServerProcess:
    return ServerProcess(
        *("--standalone", str(home), "--dummy-auth", TOKEN, *options),
        runner=runner,
        environment=environment,
    )


class Shared(Protocol):
    """Makes servers that may have workers."""

    def __call__(self, runner: Runner, processes: int, *options: str) -> ServerProcess:
        """Return one that is not started."""


@pytest.fixture(scope="module")
def migrated_dsn(new_postgres_database: Callable[[], str]) -> str:
    dsn = new_postgres_database()
    upgrade(dsn)
    return dsn


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The storage that belongs to the database."""
    return tmp_path_factory.mktemp("objects")


@pytest.fixture
def shared(
    migrated_dsn: str, redis_address: tuple[str, int], directory: Path
) -> Shared:
    """What several processes need."""
    host, port = redis_address

    def make(runner: Runner, processes: int, *options: str) -> ServerProcess:
        return ServerProcess(
            *("--psql-dsn", migrated_dsn, "--local-storage", str(directory)),
            *("--redis-host", host, "--redis-port", str(port), "--dummy-auth", TOKEN),
            *("--processes", str(processes), *options),
            runner=runner,
        )

    return make


def _use(server: ServerProcess) -> None:
    headers = {"Authorization": f"Token {TOKEN}", "X-Request-ID": "the-request"}
    url = f"{server.url}/api/v0/files/p/a?token=in-the-query"
    stored = httpx.post(url, content=b"four", headers=headers, timeout=60)
    assert stored.status_code == 204
    assert httpx.get(url, timeout=60).content == b"four"


@RUNNERS
def test_usage_error(runner: Runner) -> None:
    """A wrong option is one line on stderr and an exit status of its own."""
    ended = run_to_the_end(runner, "--port", "x")
    assert (ended.status, ended.out) == (64, "")
    assert ended.err == "qabel-block: --port: 'x' is not a whole number\n"


@RUNNERS
def test_help_and_version(runner: Runner) -> None:
    """``--help`` names every option with its default; ``--version`` the version."""
    ended = run_to_the_end(runner, "--help")
    assert ended.status == 0
    unwrapped = " ".join(ended.out.split())
    for text in ("--standalone", "--psql-dsn", "[default: 2G]", "--listen"):
        assert text in unwrapped
    assert run_to_the_end(runner, "--version").out.startswith("qabel-block ")


@RUNNERS
@pytest.mark.parametrize("options", [(), ("--asyncio",)], ids=["default", "asyncio"])
def test_reactor(runner: Runner, options: tuple[str, ...], tmp_path: Path) -> None:
    """It runs on Twisted's default reactor, or with ``--asyncio`` on asyncio's."""
    with _server(runner, tmp_path / "home", *options) as server:
        _use(server)
        assert server.stop() == 0
    name = "AsyncioSelectorReactor" if options else "EPollReactor"
    assert f"on {name}" in server.log()
    assert "Traceback" not in server.log()


@RUNNERS
def test_log_on_stderr(runner: Runner, tmp_path: Path) -> None:
    """By default the log goes to stderr: a line for each request, with nothing
    in it that is secret, and no noise of libraries."""
    with _server(runner, tmp_path / "home") as server:
        _use(server)
        assert server.stop() == 0
    upload, download = _accesses(server.log())
    assert upload["logger"] == "qabel_block.access"
    assert upload["message"] == "POST /api/v0/files/p/a 204"
    assert (upload["request"], upload["user"]) == ("the-request", 0)
    assert download["message"] == "GET /api/v0/files/p/a 200"
    assert download["bytes"] == 4
    for unwanted in (TOKEN, "in-the-query", "Starting factory", "alembic"):
        assert unwanted not in server.log()


@RUNNERS
def test_terminal(runner: Runner, tmp_path: Path) -> None:
    """On a terminal it is text, the level in colour."""
    ours, theirs = pty.openpty()
    with open(theirs, "wb", buffering=0) as stderr:
        process = _start(tmp_path, runner=runner, stderr=stderr)
    shown = b""
    try:
        while b"listening on" not in shown:
            shown += os.read(ours, 4096)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        os.close(ours)
    assert b"Starting reactor" not in shown
    assert b"starting on" not in shown
    line = next(line for line in shown.splitlines() if b"listening on" in line)
    assert re.match(rb"\d{4}-\d\d-\d\dT\S+ \x1b\[32mINFO\x1b\[0m \[\d+\] ", line)


@PROCESSES
def test_log_file(
    runner: Runner, processes: int, tmp_path: Path, shared: Shared
) -> None:
    """With a log file the log goes there, and to stderr only if asked to; each
    worker has a file of its own."""
    options = ("--log-file-prefix", str(tmp_path / "log"), "--log-to-stderr")
    with shared(runner, processes, *options) as server:
        _use(server)
        assert server.stop() == 0
    names = ["log", "log-1", "log-2"] if processes == 2 else ["log"]
    assert sorted(path.name for path in tmp_path.glob("log*")) == names
    logs = [(tmp_path / name).read_text() for name in names]
    assert "listening on" in logs[0]
    if processes == 2:
        assert not _accesses(logs[0])
    for log in ("".join(logs), server.log()):
        said = {record["message"] for record in _accesses(log)}
        assert said == {
            "POST /api/v0/files/p/a 204",
            "GET /api/v0/files/p/a 200",
        }


@PROCESSES
def test_log_rotation(
    runner: Runner, processes: int, tmp_path: Path, shared: Shared
) -> None:
    """A log file rotates at its size, and so many old ones are kept."""
    options = (
        *("--log-file-prefix", str(tmp_path / "log"), "--log-to-stderr"),
        *("--log-file-max-size", "1000", "--log-file-num-backups", "2"),
    )
    with shared(runner, processes, *options) as server:
        for _ in range(30):
            _use(server)
    files = {path.name: path.stat().st_size for path in tmp_path.glob("log*")}
    kept = ("log-1", "log-2") if processes == 2 else ("log",)
    for name in kept:
        assert {name, f"{name}.1", f"{name}.2"} <= files.keys()
        assert f"{name}.3" not in files
    assert max(files.values()) <= 1000


@RUNNERS
def test_log_rotation_by_time(runner: Runner, tmp_path: Path) -> None:
    """In mode ``time`` it rotates after an interval."""
    options = (
        *("--log-file-prefix", str(tmp_path / "log"), "--log-to-stderr"),
        *("--log-rotate-mode", "time", "--log-rotate-when", "S"),
        *("--log-rotate-interval", "1"),
    )
    with _server(runner, tmp_path / "home", *options) as server:

        def rotated() -> bool:
            _use(server)
            return len(list(tmp_path.glob("log*"))) > 1

        wait_for(rotated)


@RUNNERS
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--logging", "warning", "--log-to-stderr"), []),
        (("--logging", "info"), ["INFO"]),
        (("--logging", "debug"), ["INFO"]),
    ],
)
def test_log_levels(
    runner: Runner,
    options: tuple[str, ...],
    expected: list[str],
    tmp_path: Path,
) -> None:
    """Only events of the level and above are logged."""
    file = tmp_path / "log"
    process = _start(tmp_path, *options, "--log-file-prefix", str(file), runner=runner)
    try:
        wait_for((tmp_path / "home/objects/.incoming").exists)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    levels = {record["level"] for record in log_records(file.read_text())}
    assert levels.issuperset(expected)
    assert levels.isdisjoint({"INFO"}.difference(expected))


@PROCESSES
def test_logging_config(
    runner: Runner, processes: int, tmp_path: Path, shared: Shared
) -> None:
    """``--logging-config`` is what dictConfig makes of it: handlers, formatters and
    levels for single loggers. Our own formatters can be named in it."""
    config = tmp_path / "logging.json"
    config.write_text(
        json.dumps(
            {
                "formatters": {
                    "plain": {"format": "custom %(name)s %(message)s"},
                    "ours": {"()": "qabel_block.log.formats.JsonFormatter"},
                },
                "handlers": {
                    "file": _file_handler(tmp_path / "custom", "plain"),
                    "access": _file_handler(tmp_path / "requests", "ours"),
                },
                "root": {"level": "INFO", "handlers": ["file"]},
                "loggers": {
                    "qabel_block.access": {"handlers": ["access"], "propagate": False},
                    "qabel_block.server.service": {"level": "ERROR"},
                },
            }
        )
    )
    options = ("--logging-config", str(config), "--log-to-stderr")
    with shared(runner, processes, *options) as server:
        _use(server)
        assert server.stop() == 0
    custom = (tmp_path / "custom").read_text()
    assert "custom qabel_block.listening.listeners listening on" in custom
    assert "qabel_block.access" not in custom
    assert "qabel_block.server.service" not in custom
    assert len(_accesses((tmp_path / "requests").read_text())) == 2


def _file_handler(path: Path, formatter: str) -> dict[str, str]:
    return {
        "class": "logging.FileHandler",
        "filename": str(path),
        "formatter": formatter,
    }


@RUNNERS
def test_only_the_logging_config(runner: Runner, tmp_path: Path) -> None:
    """With ``--logging-config`` alone, nothing else is written to."""
    config, custom = tmp_path / "logging.json", tmp_path / "custom"
    config.write_text(
        json.dumps(
            {
                "version": 1,
                "formatters": {"plain": {"format": "custom %(message)s"}},
                "handlers": {"file": _file_handler(custom, "plain")},
                "root": {"level": "INFO", "handlers": ["file"]},
            }
        )
    )
    with (tmp_path / "stderr").open("wb") as stderr:
        process = _start(
            tmp_path,
            *("--logging-config", str(config)),
            runner=runner,
            stderr=stderr,
        )
        try:
            wait_for(custom.exists)
            wait_for(lambda: "custom listening" in custom.read_text())
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
    assert (tmp_path / "stderr").read_text() == ""


@RUNNERS
def test_wrong_logging_config(runner: Runner, tmp_path: Path) -> None:
    """One that dictConfig refuses is one line."""
    config = tmp_path / "logging.json"
    config.write_text('{"version": 1, "handlers": {"x": {"class": "no.such"}}}')
    ended = run_to_the_end(runner, "--dummy", "--logging-config", str(config))
    assert ended.status == 64
    (line,) = ended.err.splitlines()
    assert line.startswith("qabel-block: can't log as configured")


@RUNNERS
def test_logging_none(runner: Runner, tmp_path: Path) -> None:
    """With ``--logging none`` the runner's own log is left in charge; requests are
    in it."""
    output = tmp_path / "output"
    with output.open("wb") as stdout:
        process = _start(
            tmp_path,
            *("--logging", "none", "--listen", f"unix:{tmp_path / 'socket'}"),
            runner=runner,
            stdout=stdout,
        )
        try:
            wait_for((tmp_path / "socket").exists)
            transport = httpx.HTTPTransport(uds=str(tmp_path / "socket"))
            with httpx.Client(transport=transport) as client:
                client.get("http://x/healthz", timeout=60)
            wait_for(lambda: "GET /healthz 200" in output.read_text())
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
    assert "qabel_block.access" in output.read_text()
    assert "client=unix" in output.read_text()


def _start(
    folder: Path,
    *options: str,
    runner: Runner = TWIST,
    stdout: IO[Any] | None = None,
    stderr: IO[Any] | None = None,
) -> Process:
    words = (
        *runner,
        *("--listen", "tcp:0:interface=127.0.0.1", "--dummy-auth", TOKEN),
        *("--standalone", str(folder / "home")),
        *options,
    )
    return start(words, tool_environment(), stdout, stderr)


def _accesses(log: str) -> list[dict[str, Any]]:
    return [one for one in log_records(log) if one["logger"] == "qabel_block.access"]
