"""Each storage there is, on the real thing."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import lru_cache
from pathlib import Path
from time import monotonic
from typing import Any
from unittest.mock import patch

import boto3
import pytest
import pytest_twisted
from attrs import field, frozen
from prometheus_client import CollectorRegistry
from twisted.internet import reactor

from qabel_block.interfaces import IStorageBackend
from qabel_block.metrics.definitions import Metrics
from qabel_block.metrics.storage import MeasuredStorage
from qabel_block.storage.identified import IdentifiedStorage
from qabel_block.storage.local.page_cache import PageCache
from qabel_block.storage.local.storage import LocalStorage
from qabel_block.storage.s3.client import Connect, S3Client, new_session
from qabel_block.storage.s3.storage import S3Storage
from qabel_block.storage.temporary import TemporaryStorage
from qabel_block.storage.timeouts import TimeLimitedStorage
from qabel_block.util.threads import ThreadPool
from tests.integration.storage.blobs import INSTALLATION
from tests.support.s3 import STORES, Bucket, store_named
from tests.support.s3_proxy import S3Proxy

IMPLEMENTATIONS = {
    "local": LocalStorage,
    "local, cold": LocalStorage,
    "temporary": TemporaryStorage,
    "measured": MeasuredStorage,
    "patient": TimeLimitedStorage,
    "identified": IdentifiedStorage,
    **dict.fromkeys(STORES, S3Storage),
}
SHARED = tuple(
    name for name in IMPLEMENTATIONS if name not in ("temporary", "measured")
)
"""Those of which several processes may use one store."""

TRANSFERS = 4
LARGEST = 2 * 2**30
Made = Callable[[Any], None]
_buckets: dict[str, Bucket] = {}
_connecting = threading.Lock()


class ColdCache(PageCache):
    """A machine that has nothing in memory."""

    def open(self, path: bytes) -> int | None:
        return None

    def read(self, descriptor: int, size: int, offset: int) -> bytes:
        return b""

    def send(self, socket: int, descriptor: int, size: int, offset: int) -> int:
        return 0


@frozen
class StorageCase:
    """Where blobs are kept, whoever looks.

    :ivar make: returns a storage that is not started, as another process has
        it.
    """

    make: Callable[[], IStorageBackend] = field(repr=False)


def _nothing(_client: Any) -> None:
    pass


@lru_cache
def _session(_variables: tuple[tuple[str, str], ...]) -> boto3.session.Session:
    """Return a session for all who have the same environment; making one takes
    longer than most tests."""
    session = new_session()
    # Clients that are made later would look for this variable again.
    core = session._session
    core.set_config_variable("ca_bundle", core.get_config_variable("ca_bundle"))
    return session


@contextmanager
def environment(variables: dict[str, str]) -> Iterator[None]:
    """Set variables of this process for a while."""
    with patch.dict(os.environ, variables):
        yield


def connecting(bucket: Bucket, made: Made = _nothing) -> Connect:
    """Return what makes a client, with boto3's own look for credentials.

    :param made: told of boto3's client.
    """
    variables = tuple(bucket.store.environment.items())

    def connect() -> S3Client:
        # All threads have one environment, and a storage and its listing connect
        # in two of them.
        with (
            _connecting,
            environment(bucket.store.environment),
            patch(
                "qabel_block.storage.s3.client.new_session", lambda: _session(variables)
            ),
        ):
            url = bucket.store.endpoint_url
            client = S3Client(bucket.name, url, None, TRANSFERS)
            made(client._client)
            return client

    return connect


def s3_storage(
    bucket: Bucket,
    threads: ThreadPool,
    largest: int = LARGEST,
    clock: Any = reactor,
    made: Made = _nothing,
) -> S3Storage:
    """Return a storage in a bucket."""
    now = time.time if clock is reactor else clock.seconds
    return S3Storage(connecting(bucket, made), threads, clock, now, largest)


@asynccontextmanager
async def storage_behind(
    double: S3Proxy, bucket: Bucket, threads: ThreadPool
) -> AsyncIterator[S3Storage]:
    """Give a storage that is bound, in a bucket whose store is to misbehave."""
    storage = s3_storage(bucket, threads)
    await storage.bind(INSTALLATION)
    double.seen.clear()
    yield storage
    double.recover()
    await storage.close()


@pytest.fixture
def threads() -> Iterator[ThreadPool]:
    threads = ThreadPool(reactor, TRANSFERS, "test")
    threads.start()
    yield threads
    threads.stop()


def bucket_named(name: str, request: pytest.FixtureRequest) -> Bucket:
    """Return the bucket that all tests of a store share."""
    if name not in _buckets:
        _buckets[name] = store_named(name, request).new_bucket()
    return _buckets[name]


@pytest.fixture(params=STORES)
def bucket(request: pytest.FixtureRequest) -> Bucket:
    """A bucket in each store; tests share it, each with keys of its own."""
    return bucket_named(request.param, request)


def _identified(inner: IStorageBackend) -> IdentifiedStorage:
    async def bind() -> None:
        await inner.bind(INSTALLATION)

    return IdentifiedStorage(inner, bind, reactor)


def place_named(
    name: str, request: pytest.FixtureRequest, threads: ThreadPool, tmp_path: Path
) -> StorageCase:
    if name == "local":
        return StorageCase(lambda: LocalStorage(tmp_path / "objects", threads))
    if name == "local, cold":
        cold = ColdCache(1)
        return StorageCase(lambda: LocalStorage(tmp_path / "objects", threads, cold))
    if name == "patient":
        return StorageCase(
            lambda: TimeLimitedStorage(
                LocalStorage(tmp_path / "objects", threads), reactor
            )
        )
    if name == "identified":
        return StorageCase(
            lambda: _identified(LocalStorage(tmp_path / "objects", threads))
        )
    if name == "measured":
        metrics = Metrics(CollectorRegistry())
        return StorageCase(
            lambda: MeasuredStorage(
                LocalStorage(tmp_path / "objects", threads), metrics, monotonic
            )
        )
    if name == "temporary":
        return StorageCase(lambda: TemporaryStorage(threads))
    bucket = bucket_named(name, request)
    return StorageCase(lambda: s3_storage(bucket, threads))


@pytest_twisted.async_yield_fixture(params=IMPLEMENTATIONS)
async def storage(
    request: pytest.FixtureRequest, threads: ThreadPool, tmp_path: Path
) -> AsyncIterator[IStorageBackend]:
    """Each storage, started."""
    storage = place_named(request.param, request, threads, tmp_path).make()
    await storage.bind(INSTALLATION)
    yield storage
    await storage.close()


@pytest.fixture(params=SHARED)
def place(
    request: pytest.FixtureRequest, threads: ThreadPool, tmp_path: Path
) -> StorageCase:
    """Where several processes keep blobs."""
    return place_named(request.param, request, threads, tmp_path)
