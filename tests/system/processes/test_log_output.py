"""Logs that are not read, renamed, or that take long to write."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx

from tests.support.checkout import CHECKOUT
from tests.support.ports import free_port
from tests.support.server import ServerProcess
from tests.support.waiting import wait_for

_REQUESTS = 1500
"""Whose lines are several times what a pipe holds."""


def _read_until(descriptor: int, text: bytes) -> None:
    received = b""
    while text not in received:
        assert select.select([descriptor], [], [], 60)[0], received
        received += os.read(descriptor, 2**16)


def test_stderr_that_nobody_reads() -> None:
    """Requests are answered all the same, and the server ends when it is told to."""
    port = free_port()
    options = ("--dummy", "--dummy-auth", "T", "--dummy-cache", "--port", str(port))
    process = subprocess.Popen(
        [sys.executable, "-m", "twisted", "qabel-block", *options],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        cwd=tempfile.gettempdir(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        _read_until(process.stderr.fileno(), b"listening on")
        with httpx.Client(base_url=f"http://localhost:{port}", timeout=30) as client:
            for _ in range(_REQUESTS):
                assert client.get("/healthz").status_code == 200
        process.terminate()
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.wait(60)
        process.stderr.close()


def test_logrotate(tmp_path: Path) -> None:
    """After a file was renamed, SIGHUP makes a new one, and lines go there."""
    file = tmp_path / "log"
    options = ("--dummy", "--dummy-auth", "T", "--dummy-cache")
    with ServerProcess(
        *options, "--log-file-prefix", str(file), "--log-to-stderr"
    ) as server:
        file.rename(tmp_path / "log-old")
        os.kill(server.pid, signal.SIGHUP)
        wait_for(file.exists)
        assert httpx.get(f"{server.url}/healthz").status_code == 200
        wait_for(lambda: "/healthz" in file.read_text())
        assert "/healthz" not in (tmp_path / "log-old").read_text()
