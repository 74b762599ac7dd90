"""The port on which metrics are served."""

from __future__ import annotations

import gzip
import os
import signal
import socket
from pathlib import Path

import httpx
import pytest

from tests.support.metrics import metrics_url, scrape
from tests.support.runners import TWIST, run_to_the_end
from tests.support.s3 import store_named
from tests.support.server import ServerProcess
from tests.support.wire import Wire
from tests.support.world import World


def test_formats(world: World) -> None:
    """Metrics come as text, as OpenMetrics if that is asked for, and compressed if
    that is."""
    url = metrics_url(world.process)
    plain = httpx.get(url)
    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    openmetrics = httpx.get(url, headers=accept)
    assert openmetrics.headers["content-type"].startswith("application/openmetrics")
    assert openmetrics.text.endswith("# EOF\n")
    with httpx.stream("GET", url, headers={"Accept-Encoding": "gzip"}) as packed:
        assert packed.headers["content-encoding"] == "gzip"
        body = gzip.decompress(b"".join(packed.iter_raw()))
    assert b"block_response_time" in body


def test_methods(world: World) -> None:
    """Metrics can be looked at, and nothing else."""
    url = metrics_url(world.process)
    head = httpx.head(url)
    assert (head.status_code, head.content) == (200, b"")
    assert httpx.post(url).status_code == 405


def test_bodies(world: World) -> None:
    """Whoever sends a body is not listened to."""
    port = httpx.URL(metrics_url(world.process)).port
    assert port is not None
    for length in ({"Content-Length": str(2**40)}, {"Transfer-Encoding": "chunked"}):
        with Wire(port) as wire:
            wire.head("POST", "/metrics", length)
            assert wire.at_end()


def test_two_ports(world: World) -> None:
    """The metrics' port serves no objects, and the objects' port no metrics."""
    base = metrics_url(world.process).removesuffix("/metrics")
    assert "block_response_time" in httpx.get(f"{base}/api/v0/quota/").text
    assert httpx.get(f"{world.process.url}/metrics").status_code == 404


def test_nothing_without_the_option(tmp_path: Path) -> None:
    """Without a port nothing listens but the server itself."""
    options = ("--standalone", str(tmp_path / "home"), "--dummy-auth", "T")
    with ServerProcess(*options) as server:
        assert "metrics on" not in server.log()
        listening = [
            line
            for line in Path(f"/proc/{server.pid}/net/tcp").read_text().splitlines()
            if line.split()[3] == "0A" and _is_of(server.pid, line.split()[9])
        ]
        assert len(listening) == 1


def _is_of(pid: int, inode: str) -> bool:
    links = Path(f"/proc/{pid}/fd").iterdir()
    return any(os.readlink(link) == f"socket:[{inode}]" for link in links)


def test_port_in_use(tmp_path: Path) -> None:
    """A port that somebody else has is one line and a failure."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        ended = run_to_the_end(
            TWIST,
            *("--port", "0", "--standalone", str(tmp_path / "home")),
            *("--dummy-auth", "T", "--logging", "error"),
            *("--prometheus-port", str(other.getsockname()[1])),
        )
    assert ended.status != 0
    (line,) = ended.err.splitlines()
    assert line.startswith("qabel-block: can't listen on tcp:")
    assert "in use" in line


def test_until_the_end(tmp_path: Path) -> None:
    """While the server drains, its metrics are still served."""
    options = ("--standalone", str(tmp_path / "home"), "--dummy-auth", "T")
    with ServerProcess(*options, "--prometheus-port", "0") as server:
        with Wire(server.port) as wire:
            headers = {
                "Authorization": "Token T",
                "Content-Length": "1",
                "Expect": "100-continue",
            }
            wire.head("POST", "/api/v0/files/p/a", headers)
            assert wire.answer().status == 100
            os.kill(server.pid, signal.SIGTERM)
            assert scrape(server).value("block_in_progress_requests") == 1
            wire.send(b"x")
            assert wire.answer().status == 204
        assert server.wait() == 0


def test_s3(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Calls of S3 are counted with their time."""
    bucket = store_named("moto", request).new_bucket()
    options = (
        *("--psql-dsn", _sqlite(tmp_path), "--dummy-cache", "--dummy-auth", "T"),
        *(*bucket.options(), "--prometheus-port", "0"),
    )
    environment = bucket.store.environment
    with ServerProcess(*options, environment=environment) as server:
        before = scrape(server).value("block_s3_requests_count")
        url = f"{server.url}/api/v0/files/p/a"
        token = {"Authorization": "Token T"}
        assert httpx.post(url, content=b"x", headers=token).status_code == 204
        assert httpx.get(url).content == b"x"
        after = scrape(server)
    assert after.value("block_s3_requests_count") >= before + 2
    assert after.value("block_s3_requests_sum") > 0
    assert after.value("block_wait_for_transfer_store_count") == 1


def _sqlite(folder: Path) -> str:
    from qabel_block.ledger.migrate import upgrade

    dsn = f"sqlite:///{folder / 'ledger.sqlite'}"
    upgrade(dsn)
    return dsn
