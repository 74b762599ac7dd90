"""One server for one directory, and few descriptors for many connections."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx

from tests.support.server import PLUGIN, ServerProcess

HEADERS = {"Authorization": "Token T"}


def test_second_server(tmp_path: Path) -> None:
    """A second server on the directory of another ends with one line; the first goes
    on, and a third may follow when it has ended."""
    options = ("--standalone", str(tmp_path / "data"), "--dummy-auth", "T")
    with ServerProcess(*options) as first:
        second = subprocess.run(
            [*PLUGIN, "--port", "0", *options],
            env=first.environment,
            capture_output=True,
            timeout=60,
        )
        assert second.returncode != 0
        lines = second.stderr.decode().splitlines()
        told = [line for line in lines if "another server is running on" in line]
        assert len(told) == 1
        assert "Traceback" not in second.stderr.decode()
        assert httpx.get(f"{first.url}/readyz").status_code == 200
    with ServerProcess(*options) as third:
        assert httpx.get(f"{third.url}/readyz").status_code == 200


def test_few_descriptors(tmp_path: Path) -> None:
    """With 256 descriptors twenty clients at once are served, and the start says what
    the limit means."""
    limited = ("prlimit", "--nofile=256:256", sys.executable, "-m", "twisted")
    server = ServerProcess(
        *("--standalone", str(tmp_path / "data"), "--dummy-auth", "T"),
        command=(*limited, "qabel-block"),
    )
    with server:
        clients = [
            httpx.Client(base_url=f"{server.url}/api/v0/", headers=HEADERS)
            for _ in range(20)
        ]
        for number, client in enumerate(clients):
            path = f"files/p/{number}"
            assert client.post(path, content=b"x" * 100_000).status_code == 204
            assert len(client.get(path).content) == 100_000
        for client in clients:
            client.close()
        (line,) = [one for one in server.log().splitlines() if "open files" in one]
        assert "256" in line
        assert "64 connections" in line
