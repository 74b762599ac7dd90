"""What clients notice of an S3 that fails."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from qabel_block.ledger.migrate import upgrade
from tests.support.s3 import Bucket, Store
from tests.support.s3_faults import cut_answer, hang, refuse
from tests.support.s3_proxy import S3Proxy
from tests.support.server import ServerProcess
from tests.support.waiting import wait_for

URL = "/api/v0/files/p/a"
TRANSFERS = 4
FOR_EVER = 1e9
SMALL = b"a small object"
LARGE = bytes(range(256)) * 2**15  # 8 MiB


@pytest.fixture
def double(moto: Store) -> Iterator[S3Proxy]:
    with S3Proxy(moto) as double:
        yield double


@pytest.fixture
def bucket(double: S3Proxy) -> Bucket:
    bucket = double.store.new_bucket()
    double.recover()
    return bucket


@pytest.fixture
def client(bucket: Bucket, tmp_path: Path) -> Iterator[httpx.Client]:
    dsn = f"sqlite:///{tmp_path / 'ledger'}"
    upgrade(dsn)
    with (
        ServerProcess(
            *bucket.options(),
            *("--psql-dsn", dsn, "--transfers", str(TRANSFERS)),
            *("--dummy-cache", "--dummy-auth", "T"),
            environment=bucket.store.environment,
        ) as server,
        httpx.Client(
            base_url=server.url, headers={"Authorization": "Token T"}, timeout=60
        ) as client,
    ):
        yield client


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize(
    ("status", "code"), [(500, "InternalError"), (503, "SlowDown")]
)
def test_upload_that_fails(
    client: httpx.Client, double: S3Proxy, body: bytes, status: int, code: str
) -> None:
    """An upload that S3 refuses for good is 503 with Retry-After, and what was
    there before is there still."""
    assert client.post(URL, content=b"before").status_code == 204
    double.order(
        refuse(status, code), "put_object", "create_multipart_upload", times=FOR_EVER
    )
    answer = client.post(URL, content=body)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    double.recover()
    assert client.get(URL).content == b"before"
    assert client.get("/api/v0/quota/").json()["size"] == len(b"before")
    assert client.post(URL, content=body).status_code == 204
    assert client.get(URL).content == body


def test_download_that_S3_breaks_off(client: httpx.Client, double: S3Proxy) -> None:
    """A download that S3 breaks off once is whole; one for which S3 is gone for
    good is broken off as well, and never looks complete."""
    assert client.post(URL, content=LARGE).status_code == 204
    double.order(cut_answer, "get_object")
    assert client.get(URL).content == LARGE
    double.order(cut_answer, "get_object")
    double.order(refuse(503, "SlowDown"), "get_object", times=FOR_EVER)
    received = bytearray()

    def download() -> None:
        with client.stream("GET", URL) as answer:
            assert answer.status_code == 200
            for piece in answer.iter_raw():
                received.extend(piece)

    with pytest.raises(httpx.TransportError):
        download()
    assert received == LARGE[: len(received)]
    assert len(received) < len(LARGE)


def test_quota_while_S3_hangs(client: httpx.Client, double: S3Proxy) -> None:
    """While all transfers wait for an S3 that answers nothing, what needs no
    storage is answered."""
    assert client.post(URL, content=SMALL).status_code == 204
    released = threading.Event()
    double.order(hang(released), "put_object", times=FOR_EVER)
    with ThreadPoolExecutor(2 * TRANSFERS) as pool:
        uploads = [
            pool.submit(client.post, f"{URL}{number}", content=SMALL)
            for number in range(2 * TRANSFERS)
        ]
        wait_for(lambda: double.operations().count("put_object") >= TRANSFERS + 1)
        for _ in range(20):
            assert client.get("/api/v0/quota/").json()["size"] == len(SMALL)
        assert not any(upload.done() for upload in uploads)
        released.set()
        double.recover()
        assert {upload.result().status_code for upload in uploads} <= {204, 503}
