"""A blob that the ledger points at is gone, from the storage that is the right one."""

from __future__ import annotations

from pathlib import Path

import httpx

from qabel_block.ledger.migrate import upgrade
from tests.support.ports import free_port
from tests.support.server import ServerProcess

HEADERS = {"Authorization": "Token T", "Accept": "*/*"}


def test_lost_blob(tmp_path: Path) -> None:
    """The answer promises nothing and tells no internal key; the log says what to do,
    a metric counts, and everything else works."""
    dsn, objects = f"sqlite:///{tmp_path / 'ledger.sqlite'}", tmp_path / "objects"
    upgrade(dsn)
    port = free_port()
    server = ServerProcess(
        *("--psql-dsn", dsn, "--local-storage", str(objects), "--dummy-cache"),
        *("--dummy-auth", "T", "--prometheus-port", str(port)),
    )
    with server, httpx.Client(base_url=server.url, headers=HEADERS) as client:
        path = "/api/v0/files/p/a"
        assert client.post(path, content=b"x").status_code == 204
        (blob,) = (objects / "p").iterdir()
        blob.unlink()
        for _ in range(2):
            answer = client.get(path)
            assert (answer.status_code, "retry-after" in answer.headers) == (500, False)
            assert "lost" in answer.json()["detail"]
            assert blob.name not in answer.text
        assert client.get("/readyz").status_code == 200
        errors = [line for line in server.log().splitlines() if "is lost" in line]
        assert len(errors) == 2
        assert all("qabel-block verify" in line and "p/a" in line for line in errors)
        assert all("error" in line.lower() for line in errors)
        metrics = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        assert "block_lost_blobs_total 2.0" in metrics
        assert client.post(path, content=b"y").status_code == 204
        assert client.get(path).content == b"y"
    assert "Traceback" not in server.log()
