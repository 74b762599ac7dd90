"""Runs the server as its users do: a process, options, a port, a log."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from websockets.typing import Subprotocol

from tests.support.checkout import CHECKOUT
from tests.support.forkserver import Process, start
from tests.support.runners import TWIST, Runner
from tests.support.waiting import TIMEOUT_SECONDS, wait_for
from tests.support.websocket import Socket, open_over_tcp
from tests.support.wire import Wire

START_SECONDS = 60.0
PLUGIN = (sys.executable, "-m", *TWIST)
"""How users run it, but for the name of the program."""
_LISTENING = re.compile(r"listening on [^\n]*?127\.0\.0\.1[^\n]*?(\d+)")


def log_records(log: str) -> list[dict[str, Any]]:
    """Return the events of a log, of whose last line not all may be there yet."""
    whole = log[: log.rfind("\n") + 1].splitlines()
    return [json.loads(line) for line in whole if line.startswith("{")]


class ServerProcess:
    """One ``twist qabel-block`` process on a free port of 127.0.0.1.

    :param options: command line options besides address and port.
    :param environment: variables to add to the test's own.
    :param command: how to run the plugin, such as :data:`PLUGIN`; by default it is
        forked from a process that has imported it.
    :param runner: the module that runs it then, and its arguments.
    :ivar descriptors: files that the process inherits.
    """

    def __init__(
        self,
        *options: str,
        environment: dict[str, str] | None = None,
        command: tuple[str, ...] | None = None,
        runner: Runner = TWIST,
    ) -> None:
        self.options = options
        self.command = command
        self.runner = runner
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(CHECKOUT),
            **(environment or {}),
        }
        self.descriptors: tuple[int, ...] = ()
        self.port = 0
        self._process: Process | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="qabel-block-")
        self._log = Path(self._folder.name) / "log"
        self._output = Path(self._folder.name) / "output"

    def __enter__(self) -> ServerProcess:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the process and wait until it listens."""
        options = ("--address", "127.0.0.1", "--port", "0", *self.options)
        with self._log.open("wb") as log, self._output.open("wb") as output:
            if self.command is None and not self.descriptors:
                words = (*self.runner, *options)
                self._process = start(words, self.environment, output, log)
            else:
                self._process = subprocess.Popen(
                    [*(self.command or PLUGIN), *options],
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=log,
                    pass_fds=self.descriptors,
                    cwd=tempfile.gettempdir(),
                )
        deadline = time.monotonic() + START_SECONDS
        while (match := _LISTENING.search(self._written())) is None:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server did not start:\n{self.log()}")
            time.sleep(0.02)
        self.port = int(match[1])

    def transport(self) -> httpx.BaseTransport:
        """Return what httpx sends requests by."""
        limits = httpx.Limits(max_connections=100, max_keepalive_connections=100)
        # Certificates, which take time to load, are of no use here.
        return httpx.HTTPTransport(verify=False, limits=limits)

    def wire(self, **options: Any) -> Wire:
        """Open a connection."""
        return Wire(self.port, **options)

    def websocket(
        self,
        path: str,
        headers: dict[str, str],
        subprotocols: list[Subprotocol] | None = None,
    ) -> Socket:
        """Open a WebSocket."""
        url = self.url.replace("http", "ws", 1) + path
        return open_over_tcp(url, headers, subprotocols)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Return when a condition holds."""
        wait_for(condition)

    def log(self) -> str:
        """Return what the process has logged since it started.

        A thread of its writes the log a little later: wait until no more comes, or
        for a second from a server under load, whose log never ends.
        """
        before, now = -1, self._log.stat().st_size
        deadline = time.monotonic() + 1
        while now != before and time.monotonic() < deadline:
            time.sleep(0.1)
            before, now = now, self._log.stat().st_size
        return self._written()

    def _written(self) -> str:
        return self._log.read_text(errors="replace")

    def records(self) -> list[dict[str, Any]]:
        """Return its log's events, each with all that it says."""
        return log_records(self.log())

    def served(self) -> Counter[int]:
        """Return how many requests each process has logged."""
        return Counter(
            record["process"]
            for record in self.records()
            if record["logger"] == "qabel_block.access"
        )

    def kill(self) -> None:
        """End the process as a power failure would."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(TIMEOUT_SECONDS)

    def stop(self) -> int:
        """End the process as an operator would; return its exit status."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """Wait for the process to end by itself; return its exit status."""
        assert self._process is not None
        try:
            return self._process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def output(self) -> str:
        """Return what the ended process has written to its standard output."""
        return self._output.read_text()

    def memory(self) -> int:
        """Return the resident set in bytes, as it is now."""
        pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGESIZE")

    def peak_memory(self) -> int:
        """Return the largest resident set so far, in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        match = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert match is not None
        return int(match[1]) * 1024
