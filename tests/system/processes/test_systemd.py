"""deploy/systemd: what the units run, and what systemd hears from it."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from qabel_block.config.command_line import Options
from qabel_block.config.environment import given_in_environment
from qabel_block.config.from_options import configure
from qabel_block.config.option import PREFIX
from qabel_block.config.options import BY_NAME
from tests.integration.ledger.support import change
from tests.support.activation import activated
from tests.support.server import ServerProcess
from tests.support.tools import run_tool
from tests.support.units import (
    SERVICE,
    SOCKET,
    TWISTD,
    VERIFY,
    VERIFY_TIMER,
    command,
    settings,
    suggestions,
    variables,
)

RUNNERS = {
    "twist": (sys.executable, "-m", "twisted"),
    "twistd": (sys.executable, "-m", "tests.support.twistd"),
}


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[socket.socket]:
    """A socket at which the service thinks that systemd is."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        heard.settimeout(60)
        yield heard


def _server(
    unit: Path, listener: socket.socket, options: tuple[str, ...], heard: socket.socket
) -> ServerProcess:
    """Return what a unit runs, started as systemd does it."""
    program, *words = command(unit)
    at = words.index("qabel-block") + 1
    runner = (*RUNNERS[os.path.basename(program)], *words[:at])
    server = activated(listener, *options, *words[at:], runner=runner)
    server.environment["NOTIFY_SOCKET"] = heard.getsockname()
    return server


@pytest.mark.parametrize("unit", [SERVICE, TWISTD], ids=["twist", "twistd"])
def test_life_of_the_service(unit: Path, heard: socket.socket, tmp_path: Path) -> None:
    """The command of each unit serves on systemd's socket, and tells when it is
    ready, reloads and stops."""
    options = ("--standalone", str(tmp_path / "home"), "--dummy-auth", "T")
    with (
        socket.create_server(("127.0.0.1", 0), backlog=128) as listener,
        _server(unit, listener, options, heard) as server,
    ):
        assert heard.recv(4096) == b"READY=1"
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/readyz"
        assert httpx.get(url, timeout=60).status_code == 200
        os.kill(server.pid, signal.SIGHUP)
        assert heard.recv(4096).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        assert heard.recv(4096) == b"READY=1"
        assert server.stop() == 0
        assert heard.recv(4096) == b"STOPPING=1"


def test_workers(
    heard: socket.socket, shared_options: tuple[str, ...], tmp_path: Path
) -> None:
    """With workers it is the first process that tells, when all are ready; nothing
    more once it stops, which cuts a reload short."""
    options = (*shared_options, "--processes", "2")
    with (
        socket.create_server(("127.0.0.1", 0), backlog=128) as listener,
        _server(SERVICE, listener, options, heard) as server,
    ):
        assert heard.recv(4096) == b"READY=1"
        assert server.log().count("is process") == 2
        os.kill(server.pid, signal.SIGHUP)
        assert heard.recv(4096).startswith(b"RELOADING=1")
        assert heard.recv(4096) == b"READY=1"
        assert server.log().count("is process") == 4
        os.kill(server.pid, signal.SIGHUP)
        assert heard.recv(4096).startswith(b"RELOADING=1")
        assert server.stop() == 0
        assert heard.recv(4096) == b"STOPPING=1"
        heard.setblocking(False)
        with pytest.raises(BlockingIOError):
            heard.recv(4096)
        assert server.log().count("all workers have been replaced") == 1
        assert "successor failed" not in server.log()


def test_environment() -> None:
    """The example of an environment sets options that exist, to values that they
    take, and so do its suggestions."""
    environment = variables()
    options = Options(environment)
    options.parseOptions(command(SERVICE)[2:])
    configure(options)
    known = {option.variable: option for option in BY_NAME.values()}
    for name, value in suggestions().items():
        if name.startswith(PREFIX):
            given = given_in_environment(known[name], {name: value})
            assert given is not None
            assert known[name].value_of(given)
    assert {name for name in environment if name not in known} == set()


def test_units_fit() -> None:
    """Socket and service name each other's sort of socket, systemd waits longer
    than the server drains, and the storage is what the service may write to."""
    service = settings(SERVICE)
    assert settings(SOCKET)["ListenStream"] == ["127.0.0.1:8888"]
    assert command(SERVICE)[-1].startswith("systemd:domain=INET:")
    assert command(TWISTD)[-2:] == command(SERVICE)[-2:]
    (limit,) = service["TimeoutStopSec"]
    assert int(limit) > int(BY_NAME["drain"].default or 0) + 90
    (state,) = service["StateDirectory"]
    place = Path(variables()["QABEL_BLOCK_LOCAL_STORAGE"])
    assert place == Path(f"/var/lib/{state}")


def test_nightly_check(tmp_path: Path) -> None:
    """What the timer starts is quiet about what the operator has said is known, runs
    as the server's user with the server's environment, and fails for what is new."""
    assert VERIFY_TIMER.stem == VERIFY.stem
    assert "OnCalendar" in settings(VERIFY_TIMER)
    server, check = settings(SERVICE), settings(VERIFY)
    for name in ("EnvironmentFile", "User", "DynamicUser", "StateDirectory"):
        assert check[name] == server[name]
    program, *words = command(VERIFY)
    assert os.path.basename(program) == "qabel-block"
    known = tmp_path / "known"
    words[words.index("--known") + 1] = str(known)
    home = ("--standalone", str(tmp_path / "home"))
    stray = tmp_path / "home/objects/p/not.a-blob"
    assert run_tool("user", "add", "a", *home).status == 0
    change(
        f"sqlite:///{tmp_path}/home/ledger.sqlite",
        "INSERT INTO prefixes (name, user_id) VALUES ('p', 1)",
    )
    stray.parent.mkdir(parents=True)
    stray.touch()
    assert run_tool(*words, *home).status == 1
    assert run_tool(*words, *home, "--remember").status == 0
    quiet = run_tool(*words, *home)
    assert (quiet.status, quiet.err) == (0, "")
    (line,) = quiet.out.splitlines()
    assert "0 findings" in line
    assert "1 known" in line
    stray.with_name("new.stray").touch()
    found = run_tool(*words, *home)
    assert found.status == 1
    assert "not a blob: p/new.stray" in found.out
