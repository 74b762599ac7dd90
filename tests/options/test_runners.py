"""The same options under ``twist`` and ``twistd``, and what the two log."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.support.server import CHECKOUT, ServerProcess
from tests.support.waiting import wait_for

TWIST = (sys.executable, "-m", "twisted", "qabel-block")
_TWISTD = "from twisted.scripts.twistd import run; run()"
TWISTD = (sys.executable, "-c", _TWISTD, "--nodaemon", "--pidfile=", "qabel-block")
RUNNERS = pytest.mark.parametrize("runner", [TWIST, TWISTD], ids=["twist", "twistd"])
TOKEN = "token-of-the-runner"


def _server(
    runner: tuple[str, ...], home: Path, *options: str, **environment: str
) -> ServerProcess:
    return ServerProcess(
        *("--standalone", str(home), "--dummy-auth", TOKEN, *options),
        command=runner,
        environment=environment,
    )


def _use(server: ServerProcess) -> None:
    client = httpx.Client(base_url=server.url, timeout=60)
    headers = {"Authorization": f"Token {TOKEN}", "X-Request-ID": "the-request"}
    url = "/api/v0/files/p/a?token=in-the-query"
    assert client.post(url, content=b"four", headers=headers).status_code == 204
    assert client.get(url).content == b"four"


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, env=environment
    )


@RUNNERS
def test_usage_error(runner: tuple[str, ...]) -> None:
    """A wrong option is one line on stderr and an exit status of its own."""
    done = _run(*runner, "--port", "x")
    assert done.returncode == 64
    assert done.stdout == ""
    assert done.stderr == "qabel-block: --port: 'x' is not a whole number\n"


@RUNNERS
def test_help_and_version(runner: tuple[str, ...]) -> None:
    """``--help`` names every option with its default; ``--version`` the version."""
    done = _run(*runner, "--help")
    assert done.returncode == 0
    for text in ("--standalone", "--psql-dsn", "[default: 2147483648]", "--listen"):
        assert text in done.stdout
    assert _run(*runner, "--version").stdout.startswith("qabel-block ")


@RUNNERS
@pytest.mark.parametrize("options", [(), ("--asyncio",)], ids=["default", "asyncio"])
def test_reactor(
    runner: tuple[str, ...], options: tuple[str, ...], tmp_path: Path
) -> None:
    """It runs on Twisted's default reactor, or with ``--asyncio`` on asyncio's."""
    with _server(runner, tmp_path / "home", *options) as server:
        _use(server)
        assert server.stop() == 0
    name = "AsyncioSelectorReactor" if options else "EPollReactor"
    assert f"on {name}" in server.log()
    assert "Traceback" not in server.log()


@RUNNERS
def test_log_on_stderr(runner: tuple[str, ...], tmp_path: Path) -> None:
    """By default the log goes to stderr: a line for each request, with nothing
    in it that is secret, and no noise of libraries."""
    with _server(runner, tmp_path / "home") as server:
        _use(server)
        assert server.stop() == 0
    log = server.log()
    line = re.search(r".*POST /api/v0/files/p/a 204 .*", log)
    assert line is not None
    assert "qabel_block.access" in line[0]
    assert "request=the-request" in line[0]
    assert "user=0" in line[0]
    assert re.search(r"GET /api/v0/files/p/a 200 4 B [\d.]+ ms", log)
    for unwanted in (TOKEN, "in-the-query", "Starting factory", "alembic"):
        assert unwanted not in log


@RUNNERS
def test_log_file(runner: tuple[str, ...], tmp_path: Path) -> None:
    """With a log file the log goes there, and to stderr only if asked to."""
    file = tmp_path / "log"
    options = ("--log-file-prefix", str(file), "--log-to-stderr")
    with _server(runner, tmp_path / "home", *options) as server:
        _use(server)
    assert "POST /api/v0/files/p/a 204" in file.read_text()
    assert "POST /api/v0/files/p/a 204" in server.log()


def test_log_rotation(tmp_path: Path) -> None:
    """A log file rotates at its size, and so many old ones are kept."""
    options = (
        *("--log-file-prefix", str(tmp_path / "log"), "--log-to-stderr"),
        *("--log-file-max-size", "1000", "--log-file-num-backups", "2"),
    )
    with _server(TWIST, tmp_path / "home", *options) as server:
        for _ in range(20):
            _use(server)
    logs = sorted(path.name for path in tmp_path.glob("log*"))
    assert logs == ["log", "log.1", "log.2"]


def test_log_rotation_by_time(tmp_path: Path) -> None:
    """In mode ``time`` it rotates after an interval."""
    options = (
        *("--log-file-prefix", str(tmp_path / "log"), "--log-to-stderr"),
        *("--log-rotate-mode", "time", "--log-rotate-when", "S"),
    )
    with _server(TWIST, tmp_path / "home", *options) as server:

        def rotated() -> bool:
            _use(server)
            return len(list(tmp_path.glob("log*"))) > 1

        wait_for(rotated)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--logging", "warning", "--log-to-stderr"), []),
        (("--logging", "info"), ["INFO"]),
        (("--logging", "debug"), ["INFO"]),
    ],
)
def test_log_levels(
    options: tuple[str, ...], expected: list[str], tmp_path: Path
) -> None:
    """Only events of the level and above are logged."""
    file = tmp_path / "log"
    process = _start(tmp_path, *options, "--log-file-prefix", str(file))
    try:
        wait_for((tmp_path / "home/objects/.incoming").exists)
    finally:
        process.terminate()
        assert process.wait(60) == 0
    levels = {line.split()[1] for line in file.read_text().splitlines()}
    assert levels.issuperset(expected)
    assert levels.isdisjoint({"INFO"}.difference(expected))


def test_logging_config(tmp_path: Path) -> None:
    """``--logging-config`` is what dictConfig makes of it."""
    config = tmp_path / "logging.json"
    handler = {
        "class": "logging.FileHandler",
        "filename": str(tmp_path / "custom"),
        "formatter": "plain",
    }
    config.write_text(
        json.dumps(
            {
                "version": 1,
                "formatters": {"plain": {"format": "custom %(message)s"}},
                "handlers": {"file": handler},
                "root": {"level": "INFO", "handlers": ["file"]},
            }
        )
    )
    process = _start(tmp_path, "--logging-config", str(config))
    try:
        wait_for((tmp_path / "custom").exists)
        wait_for(lambda: "custom listening" in (tmp_path / "custom").read_text())
    finally:
        process.terminate()
        assert process.wait(60) == 0


def test_wrong_logging_config(tmp_path: Path) -> None:
    """One that dictConfig refuses is one line."""
    config = tmp_path / "logging.json"
    config.write_text('{"version": 1, "handlers": {"x": {"class": "no.such"}}}')
    done = _run(*TWIST, "--dummy", "--logging-config", str(config))
    assert done.returncode == 64
    (line,) = done.stderr.splitlines()
    assert line.startswith("qabel-block: can't log as configured")


def test_logging_none(tmp_path: Path) -> None:
    """With ``--logging none`` the runner's own log is left in charge."""
    process = _start(tmp_path, "--logging", "none", stdout=subprocess.PIPE)
    wait_for((tmp_path / "home/objects/.incoming").exists)
    process.terminate()
    output, _ = process.communicate(timeout=60)
    assert b"qabel_block" in output


def _start(
    folder: Path, *options: str, stdout: int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            *TWIST,
            *("--listen", "tcp:0:interface=127.0.0.1", "--dummy-auth", TOKEN),
            *("--standalone", str(folder / "home")),
            *options,
        ],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        stdout=stdout,
        stderr=subprocess.DEVNULL,
    )
