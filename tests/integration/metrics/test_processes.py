"""Metrics of several processes are those of one server."""

from __future__ import annotations

import os
import signal
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import httpx
from websockets.sync.client import connect

from tests.integration.metrics.conftest import TOKEN
from tests.support.forked_workers import workers_of
from tests.support.metrics import scrape
from tests.support.server import ServerProcess
from tests.support.waiting import wait_for

HEADERS = {"Authorization": f"Token {TOKEN}"}


def _workers(server: ServerProcess) -> set[int]:
    return workers_of(server.pid)


def _prefix(server: ServerProcess) -> str:
    answer = httpx.post(f"{server.url}/api/v0/prefix/", headers=HEADERS)
    return str(answer.json()["prefix"])


def _read_often(server: ServerProcess, times: int) -> Counter[int]:
    """Ask on connections of their own, so that all workers get some."""
    url = f"{server.url}/api/v0/quota/"
    return Counter(httpx.get(url, headers=HEADERS).status_code for _ in range(times))


def _answered(server: ServerProcess) -> float:
    return scrape(server).value("block_requests_total", method="GET", status="200")


def _connected(server: ServerProcess) -> float:
    return scrape(server).value("websocket_connections")


def _serving(server: ServerProcess) -> set[int]:
    """Return the workers that have taken a socket over."""
    return {
        record["process"] for record in server.records() if record.get("status") == 101
    }


def _metrics_directories(tmp_path: Path) -> list[Path]:
    return list(tmp_path.glob("qabel-block-metrics-*"))


def test_sums(server: ServerProcess, tmp_path: Path) -> None:
    """What both workers count is added up, and no file is left at the end."""
    workers = _workers(server)
    assert _read_often(server, 40) == {200: 40}
    wait_for(lambda: _answered(server) == 40)
    seen = scrape(server)
    assert seen.value("block_response_time_count") == 40
    assert seen.value("block_workers") == 2
    assert seen.value("block_workers_started_total") == 2
    assert seen.value("block_dependency_up", dependency="database") == 1
    assert seen.value("block_build_info") == 1
    memory = [
        labels
        for (name, labels), _ in seen.values.items()
        if name == "process_resident_memory_bytes"
    ]
    assert len(memory) == 3
    assert len(_metrics_directories(tmp_path)) == 1
    assert server.stop() == 0
    assert _metrics_directories(tmp_path) == []
    assert {record["process"] for record in server.records()} > workers


def test_crash(server: ServerProcess, tmp_path: Path) -> None:
    """When a worker crashes, what it counted stays and what it had open is gone;
    its successor goes on, in the same files."""
    prefix = _prefix(server)
    url = server.url.replace("http", "ws", 1) + f"/api/v0/websocket/{prefix}"
    with ExitStack() as sockets:
        opened = 0
        while _serving(server) != _workers(server):
            assert opened < 100
            sockets.enter_context(connect(url, additional_headers=HEADERS))
            opened += 1
            wait_for(lambda: _connected(server) == opened)  # noqa: B023
        _read_often(server, 40)
        wait_for(lambda: _answered(server) == 40)
        (directory,) = _metrics_directories(tmp_path)
        files = {path.name for path in directory.iterdir()}
        before = _workers(server)
        os.kill(min(before), signal.SIGKILL)
        wait_for(lambda: 0 < _connected(server) < opened)
        assert _answered(server) == 40
        wait_for(lambda: len(_workers(server) - before) == 1)
        wait_for(lambda: scrape(server).value("block_workers") == 2)
        assert _read_often(server, 20) == {200: 20}
        wait_for(lambda: _answered(server) == 60)
        assert scrape(server).value("block_workers_started_total") == 3
        wait_for(lambda: {path.name for path in directory.iterdir()} == files)
    wait_for(lambda: _connected(server) == 0)


def test_replaced(server: ServerProcess, tmp_path: Path) -> None:
    """Counts never fall when workers are replaced, however often, and files don't
    become more with each time."""
    (directory,) = _metrics_directories(tmp_path)
    counts = []
    for round_ in range(1, 3):
        before = _workers(server)
        _read_often(server, 10)
        wait_for(lambda: _answered(server) == 10 * round_)  # noqa: B023
        os.kill(server.pid, signal.SIGHUP)
        wait_for(lambda: len(_workers(server) - before) == 2)  # noqa: B023
        wait_for(lambda: not _workers(server) & before)  # noqa: B023
        wait_for(lambda: scrape(server).value("block_workers") == 2)
        assert _answered(server) == 10 * round_
        counts.append(len(list(directory.glob("counter_*"))))
    assert max(counts) <= 4
    assert scrape(server).value("block_workers_started_total") == 6


def test_no_directory_without_the_option(
    options: tuple[str, ...], tmp_path: Path
) -> None:
    """Without a port for metrics, workers share none."""
    place = options.index("--prometheus-port")
    unmeasured = (*options[:place], *options[place + 2 :], "--processes", "2")
    environment = {"TMPDIR": str(tmp_path)}
    with ServerProcess(*unmeasured, environment=environment):
        assert _metrics_directories(tmp_path) == []
