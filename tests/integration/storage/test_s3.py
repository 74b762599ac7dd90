"""What is particular to blobs in an S3 bucket, on real stores."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import Clock

from qabel_block.errors import Unavailable, WrongStorage
from qabel_block.model import ObjectName
from qabel_block.names import IDENTITY, Versions, blob_key
from qabel_block.storage.s3.client import S3Client
from qabel_block.storage.s3.storage import (
    LEFT_OVER_SECONDS,
    SWEEP_SECONDS,
    VERIFY_SECONDS,
    S3Storage,
)
from qabel_block.storage.s3.writer import MOST_PARTS, SMALLEST_PART, part_size
from qabel_block.util.threads import ThreadPool
from tests.integration.storage.blobs import INSTALLATION, new_key, pattern, read, write
from tests.integration.storage.conftest import s3_storage
from tests.support.clocks import until
from tests.support.s3 import Bucket, Store, credentials

LARGE = pattern(12 * 2**20 + 7)


@pytest_twisted.async_yield_fixture
async def storage(bucket: Bucket, threads: ThreadPool) -> AsyncIterator[S3Storage]:
    storage = s3_storage(bucket, threads)
    await storage.bind(INSTALLATION)
    yield storage
    await storage.close()


def old_key(age: float) -> str:
    """Return a key that was made this many seconds ago."""
    versions = Versions(lambda: time.time() - age)
    return blob_key(ObjectName(new_key().partition("/")[0], "old"), versions.next())


@pytest_twisted.ensureDeferred
async def test_key_of_the_blob(storage: S3Storage, bucket: Bucket) -> None:
    """A blob is the object `<prefix>/<path>~<version>`, and nothing else."""
    keys = [new_key("blocks/a"), new_key("b")]
    await write(storage, keys[0], b"x")
    await write(storage, keys[1], LARGE)
    for key in keys:
        prefix = key.partition("/")[0]
        assert bucket.keys(prefix) == [key]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("size", [0, 1, 5 * 2**20, 12 * 2**20 + 7])
async def test_aborted_uploads(storage: S3Storage, bucket: Bucket, size: int) -> None:
    """Of an aborted blob neither an object nor a multipart upload is left."""
    key = new_key()
    writer = await storage.create(key)
    await writer.write(pattern(size))
    await writer.abort()
    assert key not in [name for name, _ in bucket.uploads()]
    assert bucket.keys(key) == []


@pytest_twisted.ensureDeferred
async def test_delete_in_batches(storage: S3Storage, bucket: Bucket) -> None:
    """More blobs than one request may name are deleted together."""
    keys = [new_key() for _ in range(1001)]
    for key in (keys[0], keys[-1]):
        await write(storage, key, b"x")
    await storage.delete(keys)
    assert bucket.keys(keys[0]) == bucket.keys(keys[-1]) == []


def _is_due(clock: Clock, seconds: float) -> bool:
    """Whether something is going to be done in so many seconds."""
    due = clock.seconds() + seconds
    return any(abs(call.getTime() - due) < 1 for call in clock.getDelayedCalls())


@pytest_twisted.ensureDeferred
async def test_sweep(bucket: Bucket, threads: ThreadPool) -> None:
    """At its start and every hour the storage aborts our own multipart uploads
    that are older than a day; younger and foreign ones go on."""
    clock = Clock()
    clock.advance(time.time() + LEFT_OVER_SECONDS + 2 * SWEEP_SECONDS)
    later = s3_storage(bucket, threads, clock=clock)
    keys = {
        "old": old_key(0),
        "young": old_key(-5 * SWEEP_SECONDS),
        "legacy": "prefix/old",
        "foreign": "backup/2020.tar",
    }

    def begin(name: str) -> str:
        answer = bucket.client.create_multipart_upload(
            Bucket=bucket.name, Key=keys[name]
        )
        return str(answer["UploadId"])

    uploads = {name: begin(name) for name in keys}

    def under_way() -> list[str]:
        found = {upload for _, upload in bucket.uploads()}
        return [name for name, upload in uploads.items() if upload in found]

    await later.bind(INSTALLATION)
    await until(lambda: under_way() == ["young", "legacy", "foreign"])
    uploads["old"] = begin("old")
    await until(lambda: _is_due(clock, SWEEP_SECONDS))  # the first sweep is over
    clock.advance(SWEEP_SECONDS)
    await until(lambda: under_way() == ["young", "legacy", "foreign"])
    await later.close()
    for name in under_way():
        bucket.client.abort_multipart_upload(
            Bucket=bucket.name, Key=keys[name], UploadId=uploads[name]
        )


@pytest_twisted.ensureDeferred
async def test_sweep_of_many(seaweedfs: dict[str, Store], threads: ThreadPool) -> None:
    """Left-over uploads are found on however many pages the store lists them."""

    def small_pages(client: Any) -> None:
        client.meta.events.register(
            "provide-client-params.s3.ListMultipartUploads",
            lambda params, **_: {**params, "MaxUploads": 10},
        )

    bucket = seaweedfs["seaweedfs-http"].new_bucket()
    clock = Clock()
    clock.advance(time.time() + 2 * LEFT_OVER_SECONDS)
    keys = [new_key() for _ in range(25)]
    for key in keys:
        bucket.client.create_multipart_upload(Bucket=bucket.name, Key=key)
    later = s3_storage(bucket, threads, clock=clock, made=small_pages)
    await later.bind(INSTALLATION)
    await until(lambda: not {key for key, _ in bucket.uploads()} & {*keys})
    await later.close()


@pytest.mark.parametrize(
    ("largest", "expected"),
    [
        (0, SMALLEST_PART),
        (2**31, SMALLEST_PART),
        (SMALLEST_PART * MOST_PARTS, SMALLEST_PART),
        (SMALLEST_PART * MOST_PARTS + 1, SMALLEST_PART + 1),
        (5 * 2**40, 549_755_814),
    ],
)
def test_part_size(largest: int, expected: int) -> None:
    """The largest body fits into the number of parts that S3 allows, in parts as
    small as S3 allows."""
    assert part_size(largest) == expected
    assert expected * MOST_PARTS >= largest
    assert expected >= 5 * 2**20


@pytest_twisted.ensureDeferred
async def test_bucket_that_does_not_exist(bucket: Bucket, threads: ThreadPool) -> None:
    """The check says that there is no bucket, and nothing can be done."""
    nowhere = Bucket(bucket.store, f"{bucket.name}-not", bucket.client)
    await refused(s3_storage(nowhere, threads), "the bucket does not exist")


@pytest_twisted.ensureDeferred
async def test_wrong_credentials(
    seaweedfs: dict[str, Store], bucket: Bucket, threads: ThreadPool
) -> None:
    """The check says that the credentials are refused."""
    for store in seaweedfs.values():
        wrong = Bucket(
            Store(store.endpoint_url, store.environment | credentials("who")),
            bucket.name,
            bucket.client,
        )
        await refused(s3_storage(wrong, threads), "S3 refuses our credentials")


@pytest_twisted.ensureDeferred
async def test_no_credentials(bucket: Bucket, threads: ThreadPool) -> None:
    """The check says that there are none."""
    none = credentials("", "")
    store = Store(bucket.store.endpoint_url, none)
    await refused(
        s3_storage(Bucket(store, bucket.name, bucket.client), threads),
        "there are no credentials for S3",
    )


@pytest_twisted.ensureDeferred
async def test_certificate_that_nobody_trusts(
    seaweedfs: dict[str, Store], threads: ThreadPool
) -> None:
    """A certificate that can't be verified is an error, and is not ignored."""
    store = seaweedfs["seaweedfs-https"]
    bucket = Bucket(Store(store.endpoint_url, credentials()), "bucket", None)
    await refused(s3_storage(bucket, threads), "S3 does not answer")


async def refused(storage: S3Storage, reason: str) -> None:
    """Expect that the storage can't be bound for this reason, nor used."""
    with pytest.raises(Unavailable) as caught:
        await storage.identity()
    assert caught.value.reason.startswith(reason)
    with pytest.raises(Unavailable) as caught:
        await storage.bind(INSTALLATION)
    assert caught.value.reason.startswith(reason)
    for attempt in (
        storage.check,
        lambda: write(storage, new_key(), b"x"),
        lambda: write(storage, new_key(), LARGE),
        lambda: read(storage, new_key(), 0, 1),
        lambda: storage.delete([new_key()]),
    ):
        with pytest.raises(Unavailable):
            await attempt()
    await storage.close()


def test_connections_for_all_threads(bucket: Bucket) -> None:
    """The pool keeps as many connections as there may be transfers at a time."""
    client = S3Client(bucket.name, bucket.store.endpoint_url, "us-east-1", 23)
    assert client._client.meta.config.max_pool_connections == 23
    client.close()


@pytest_twisted.ensureDeferred
async def test_bucket_that_is_another(store: Store, threads: ThreadPool) -> None:
    """A bucket that has lost its identity, or has another, is not used any more: its
    blobs don't count as missing or deleted, and uploads notice within a minute. A
    bucket that nobody has bound is not used at all."""
    bucket = store.new_bucket()
    clock = Clock()
    storage = s3_storage(bucket, threads, clock=clock)
    assert await storage.identity() is None
    with pytest.raises(Unavailable):
        await storage.create(new_key())
    with pytest.raises(Unavailable):
        await storage.check()
    await storage.bind(INSTALLATION)
    assert bucket.keys() == []
    key = new_key()
    await write(storage, key, b"x")
    bucket.client.delete_object(Bucket=bucket.name, Key=IDENTITY)
    clock.advance(VERIFY_SECONDS + 1)
    for identity in (None, b"2f0c4d6e-0000-4000-8000-000000000000"):
        if identity is not None:
            bucket.client.put_object(Bucket=bucket.name, Key=IDENTITY, Body=identity)
        with pytest.raises(WrongStorage):
            await storage.create(new_key())
        with pytest.raises(WrongStorage):
            await storage.open(new_key(), 0, 1)
        with pytest.raises(WrongStorage):
            await storage.delete([key])
        with pytest.raises(WrongStorage):
            await storage.check()
    assert bucket.keys() == [key]
    await storage.close()
