"""The manual's way to run: in the workers of uWSGI, on sockets that it opened."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from tests.support.checkout import CHECKOUT
from tests.support.load import Load, get_and_put
from tests.support.server import log_records
from tests.support.waiting import wait_for
from tests.support.wire import Wire

TOKEN = {"Authorization": "Token T"}
OBJECT = "/api/v0/files/p/0"


class Uwsgi:
    """uWSGI with some workers.

    :param pyargv: the server's options, without spaces: uWSGI knows no quotes.
    :param environment: those that may have spaces.
    :param starter: what starts it; the command is appended.
    """

    def __init__(
        self,
        folder: Path,
        *pyargv: str,
        workers: int = 2,
        environment: Mapping[str, str] = MappingProxyType({}),
        starter: Sequence[str] = (),
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.fifo = folder / "fifo"
        self._log = folder / "log"
        command = [
            *starter,
            *(str(Path(sysconfig.get_path("scripts")) / "uwsgi"), "--master"),
            *("--processes", str(workers), "--http-socket", f"127.0.0.1:{self.port}"),
            *("--lazy-apps", "--master-fifo", str(self.fifo), "--die-on-term"),
            *(
                "--python-worker-override",
                str(CHECKOUT / "qabel_block/server/uwsgi.py"),
            ),
            *("--binary-path", sys.executable, "--pyargv", " ".join(pyargv)),
        ]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(CHECKOUT), **environment},
                cwd=folder,
            )

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def listening(self, workers: int = 2) -> Uwsgi:
        """Wait until so many workers have begun to listen, in all."""
        wait_for(lambda: self.log().count("listening on") >= workers)
        return self

    def workers(self) -> list[int]:
        """Return the processes that were started as workers."""
        return [
            int(process)
            for process in re.findall(r"spawned uWSGI worker.*pid: (\d+)", self.log())
        ]

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


@pytest.fixture
def start(
    shared_options: tuple[str, ...], tmp_path: Path
) -> Iterator[Callable[..., Uwsgi]]:
    """Starts uWSGI, which ends with the test."""
    given = dict(zip(shared_options[::2], shared_options[1::2], strict=True))
    environment = {"QABEL_BLOCK_PSQL_DSN": given.pop("--psql-dsn")}
    pyargv = tuple(chain.from_iterable(given.items()))
    with ExitStack() as started:

        def begin(**more: Any) -> Uwsgi:
            server = Uwsgi(tmp_path, *pyargv, environment=environment, **more)
            started.callback(server.stop)
            return server

        yield begin


@pytest.fixture
def uwsgi(start: Callable[..., Uwsgi]) -> Uwsgi:
    return start().listening()


def _put(server: Uwsgi) -> None:
    answer = httpx.put(f"{server.url}{OBJECT}", content=b"x", headers=TOKEN)
    assert answer.status_code == 204


def test_workers_serve(uwsgi: Uwsgi) -> None:
    """All workers serve one store, with conditions, ranges and push; at SIGTERM
    everything ends with status 0."""
    _put(uwsgi)
    uri = f"ws://127.0.0.1:{uwsgi.port}/api/v0/websocket/p/0"
    with connect(uri) as websocket:
        _put(uwsgi)
        assert '"POST"' in str(websocket.recv(timeout=60))
    wires = [Wire(uwsgi.port) for _ in range(20)]
    for wire in wires:
        wire.head("GET", OBJECT, {"Range": "bytes=0-0"})
    for wire in wires:
        answer = wire.answer()
        assert (answer.status, answer.body) == (206, b"x")
        wire.close()
    wait_for(lambda: uwsgi.log().count(f"GET {OBJECT}") == 20)
    pids = {
        record["process"]
        for record in log_records(uwsgi.log())
        if record.get("path") == OBJECT
    }
    assert uwsgi.process.pid not in pids
    assert uwsgi.stop() == 0
    assert uwsgi.log().count("requests under way have") == 2
    assert "Traceback" not in uwsgi.log()


def test_upload_finishes(uwsgi: Uwsgi) -> None:
    """An upload that is under way when uWSGI stops is stored and answered."""
    with Wire(uwsgi.port) as wire:
        headers = {**TOKEN, "Content-Length": "2", "Expect": "100-continue"}
        wire.head("POST", OBJECT, headers)
        assert wire.answer().status == 100
        uwsgi.process.terminate()
        wait_for(lambda: "requests under way have" in uwsgi.log())
        wire.send(b"xy")
        assert wire.answer().status == 204
    assert uwsgi.stop() == 0


def test_reloads_under_load(uwsgi: Uwsgi) -> None:
    """Workers that are replaced one by one, and then uWSGI itself, refuse or cut no
    request."""

    def make() -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", uwsgi.port, timeout=60)

    _put(uwsgi)
    with Load(make, get_and_put("T")) as load:
        wait_for(lambda: load.sent > 300)
        uwsgi.fifo.write_text("c")
        wait_for(lambda: "chain reloading complete" in uwsgi.log())
        uwsgi.listening(4)
        wait_for(lambda: load.sent > 600)
        uwsgi.process.send_signal(signal.SIGHUP)
        uwsgi.listening(6)
        sent = load.sent
        wait_for(lambda: load.sent > sent + 300)
    assert load.failures == []
    assert set(load.answers) == {200, 204}


@pytest.mark.parametrize(
    ("pyargv", "line"),
    [
        (("--port", "x"), "qabel-block: --port: 'x' is not a whole number"),
        (
            ("--standalone", "home"),
            "qabel-block: --processes and --standalone exclude each other",
        ),
        (("--processes", "2"), "qabel-block: --processes: this is said to uWSGI"),
        (("--listen", "tcp:1"), "qabel-block: --listen: this is said to uWSGI"),
    ],
)
def test_wrong_options(tmp_path: Path, pyargv: tuple[str, ...], line: str) -> None:
    """What keeps workers from serving is one line, and the end of uWSGI."""
    server = Uwsgi(tmp_path, *pyargv)
    server.process.wait(60)
    assert line in server.log().splitlines()


def test_one_worker(tmp_path: Path) -> None:
    """One worker may have what can't be shared, and its log file is that of its
    name. Its metrics are on the next port."""
    log = tmp_path / "block.log"
    options = ("--standalone", str(tmp_path / "home"), "--dummy-auth", "T")
    with socket.create_server(("127.0.0.1", 0)) as free:
        base = free.getsockname()[1] - 1
    metrics = ("--address", "127.0.0.1", "--prometheus-port", str(base))
    more = ("--asyncio", "--log-file-prefix", str(log), *metrics)
    server = Uwsgi(tmp_path, *options, *more, workers=1)
    try:
        wait_for(lambda: log.exists() and "listening on" in log.read_text())
        _put(server)
        assert "on AsyncioSelectorReactor" in log.read_text()
        shown = httpx.get(f"http://127.0.0.1:{base + 1}/metrics")
        assert "block_in_progress_requests" in shown.text
        assert server.stop() == 0
    finally:
        server.stop()


def test_stopped_while_it_starts(start: Callable[..., Uwsgi]) -> None:
    """Workers that are still being loaded end as well, also if what started uWSGI
    ignores SIGINT, as scripts do for what they start in the background."""
    server = start(starter=("sh", "-c", """trap '' INT; exec "$@\"""", "sh"))
    wait_for(
        lambda: len(workers := server.workers()) == 2 and all(map(_begun, workers))
    )
    assert server.stop() == 0
    assert "Traceback" not in server.log()


def _begun(process: int) -> bool:
    """Whether a process handles SIGINT."""
    status = Path(f"/proc/{process}/status").read_text()
    (handled,) = re.findall(r"^SigCgt:\s*(\w+)$", status, re.MULTILINE)
    return bool(int(handled, 16) & 1 << signal.SIGINT - 1)
