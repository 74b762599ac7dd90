"""Objects are got and put without boto3 where that works, and with it otherwise."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_twisted

from qabel_block.storage.s3.storage import S3Storage
from qabel_block.util.threads import ThreadPool
from tests.integration.storage.blobs import new_key, pattern, read, write
from tests.integration.storage.conftest import storage_behind
from tests.support.s3 import Bucket, Store
from tests.support.s3_proxy import Exchange, S3Proxy

SMALL = pattern(1000)
LARGE = pattern(5 * 2**20 + 70_000)
FOR_EVER = float("inf")
FOR_OBJECTS = ("get_object", "put_object", "upload_part")


@pytest.fixture(scope="module")
def double(seaweedfs: dict[str, Store]) -> Iterator[S3Proxy]:
    with S3Proxy(seaweedfs["seaweedfs-http"]) as proxy:
        yield proxy


@pytest.fixture
def bucket(double: S3Proxy) -> Bucket:
    double.recover()
    return double.store.new_bucket()


@pytest_twisted.async_yield_fixture
async def storage(
    double: S3Proxy, bucket: Bucket, threads: ThreadPool
) -> AsyncIterator[S3Storage]:
    async with storage_behind(double, bucket, threads) as storage:
        yield storage


def _is_signed_here(headers: dict[str, str]) -> bool:
    # boto3 signs bodies that go over plain HTTP.
    return headers["X-Amz-Content-SHA256"] == "UNSIGNED-PAYLOAD"


def _signers(double: S3Proxy) -> list[bool]:
    """Return for each request for an object whether it was sent without boto3."""
    return [
        _is_signed_here(dict(seen.headers))
        for seen in double.seen
        if seen.operation in FOR_OBJECTS
    ]


async def _store_and_read(storage: S3Storage, content: bytes) -> None:
    key = new_key()
    await write(storage, key, content)
    assert await read(storage, key, 0, len(content)) == content


def _refuse_unsigned(exchange: Exchange) -> None:
    """Do as a store whose policy requires signed bodies."""
    if _is_signed_here(dict(exchange.headers)):
        exchange.refuse(403, "AccessDenied")
    else:
        exchange.answer(*exchange.forward())


def _forward(exchange: Exchange) -> tuple[int, dict[str, str], bytes]:
    """Return the real store's answer, which does not tell its length."""
    status, headers, body = exchange.forward()
    known = {k: v for k, v in headers.items() if k.lower() != "content-length"}
    return status, known, body


def _in_chunks(exchange: Exchange) -> None:
    status, headers, body = _forward(exchange)
    chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
    handler = exchange.handler
    handler.send_response_only(status)
    for name, value in (*headers.items(), ("Transfer-Encoding", "chunked")):
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(chunk + b"0\r\n\r\n")


def _say_more(exchange: Exchange) -> None:
    """Answer with a body that nobody expects."""
    status, headers, body = _forward(exchange)
    if exchange.operation != "get_object" and _is_signed_here(dict(exchange.headers)):
        body += b"<html>"
    exchange.answer(status, headers, body)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("content", [SMALL, LARGE], ids=len)
async def test_without_boto3(
    double: S3Proxy, storage: S3Storage, content: bytes
) -> None:
    """Requests that a store takes go without boto3, each once."""
    await _store_and_read(storage, content)
    assert set(_signers(double)) == {True}
    assert double.operations().count("get_object") == 1


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("content", [SMALL, LARGE], ids=len)
async def test_store_that_wants_more(
    double: S3Proxy, storage: S3Storage, content: bytes
) -> None:
    """What a store refuses is asked by boto3, and so is all that follows, until the
    bucket's identity is asked for again."""
    double.order(_refuse_unsigned, *FOR_OBJECTS, times=FOR_EVER)
    await _store_and_read(storage, content)
    assert _signers(double).count(False) >= 2
    double.seen.clear()
    await _store_and_read(storage, content)
    assert set(_signers(double)) == {False}
    double.recover()
    await storage.check()
    double.seen.clear()
    await _store_and_read(storage, content)
    assert set(_signers(double)) == {True}


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("content", [SMALL, LARGE], ids=len)
async def test_answer_in_chunks(
    double: S3Proxy, storage: S3Storage, content: bytes
) -> None:
    """An answer whose length is not told is as good as another."""
    double.order(_in_chunks, *FOR_OBJECTS, times=FOR_EVER)
    await _store_and_read(storage, content)
    assert set(_signers(double)) == {True}


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("content", [SMALL, LARGE], ids=len)
async def test_answer_that_is_odd(
    double: S3Proxy, storage: S3Storage, content: bytes
) -> None:
    """An answer that is not as expected does not count: boto3 asks again."""
    double.order(_say_more, *FOR_OBJECTS, times=FOR_EVER)
    await _store_and_read(storage, content)
    assert {*_signers(double)} == {True, False}
