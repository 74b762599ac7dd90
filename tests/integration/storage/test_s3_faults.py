"""An S3 that fails: what can be repeated works, everything else says so, and no
byte is ever wrong."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure

from qabel_block.errors import StorageFull, Unavailable
from qabel_block.interfaces import IBlobReader
from qabel_block.storage.s3 import client as s3_client
from qabel_block.storage.s3 import thread_queue
from qabel_block.storage.s3.storage import S3Storage
from qabel_block.util.threads import ThreadPool
from tests.integration.storage.blobs import new_key, pattern, read, write
from tests.integration.storage.conftest import TRANSFERS, storage_behind
from tests.support.clocks import running, until
from tests.support.s3 import Bucket, Store
from tests.support.s3_faults import (
    corrupt_request,
    cut_answer,
    cut_request,
    do_and_refuse,
    hang,
    late,
    lose_answer,
    refuse,
)
from tests.support.s3_proxy import Behaviour, Exchange, S3Proxy

SMALL = pattern(1000)
LARGE = pattern(5 * 2**20 + 70_000)
"""Two parts."""

FOR_EVER = float("inf")
ALL = (
    "put_object",
    "create_multipart_upload",
    "upload_part",
    "complete_multipart_upload",
    "abort_multipart_upload",
    "list_multipart_uploads",
    "get_object",
    "head_object",
    "head_bucket",
    "delete_objects",
)
STEPS = {
    "put_object": SMALL,
    "create_multipart_upload": LARGE,
    "upload_part": LARGE,
    "complete_multipart_upload": LARGE,
    "head_object": LARGE,
}
"""What an upload asks of S3, and a body for which it does."""


@pytest.fixture(scope="module")
def double(moto: Store) -> Iterator[S3Proxy]:
    with S3Proxy(moto) as proxy:
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


async def fails(
    attempt: Callable[[], object], reason: str, kind: type[Exception] = Unavailable
) -> None:
    with pytest.raises(kind) as caught:
        await attempt()  # type: ignore[misc]
    assert reason in str(caught.value)


async def try_to_write(storage: S3Storage, key: str, content: bytes) -> None:
    """Store a blob as uploads do."""
    writer = await storage.create(key)
    try:
        await writer.write(content)
        await writer.finish()
    except BaseException:
        await writer.abort()
        raise


async def read_to_the_end(reader: IBlobReader, content: bytearray) -> None:
    while piece := await reader.read():
        content += piece


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    ("behaviour", "early"),
    [
        (refuse(500, "InternalError"), False),
        (refuse(503, "SlowDown"), True),
        (refuse(503, "ServiceUnavailable"), False),
        (late(1), False),
        (cut_request, True),
        (lose_answer, False),
    ],
    ids=["500", "slow down", "503", "late", "cut off", "answer lost"],
)
async def test_one_failure_of_an_upload(
    double: S3Proxy,
    storage: S3Storage,
    bucket: Bucket,
    step: str,
    behaviour: Behaviour,
    early: bool,
) -> None:
    """Whatever of an upload fails once, for whatever reason, it is repeated, and
    the blob is what was sent."""
    if behaviour is cut_request and step not in ("put_object", "upload_part"):
        behaviour, early = lose_answer, False
    content = STEPS[step]
    key = new_key()
    double.order(behaviour, step, early=early)
    await try_to_write(storage, key, content)
    double.recover()
    assert await read(storage, key, 0, len(content)) == content
    if step != "create_multipart_upload":
        assert bucket.uploads() == []


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (refuse(500, "InternalError"), "S3 answers"),
        (refuse(503, "SlowDown"), "S3 answers"),
        (refuse(403, "AccessDenied"), "S3 refuses our credentials"),
        (lambda exchange: exchange.cut(), "S3 does not answer"),
    ],
    ids=["500", "slow down", "403", "cut off"],
)
async def test_upload_that_fails_for_good(
    double: S3Proxy,
    storage: S3Storage,
    bucket: Bucket,
    step: str,
    behaviour: Behaviour,
    reason: str,
) -> None:
    """An upload that fails again and again is an error in words, and leaves no
    multipart upload."""
    key = new_key()
    double.order(behaviour, step, times=FOR_EVER)
    await fails(lambda: try_to_write(storage, key, STEPS[step]), reason)
    double.recover()
    assert bucket.uploads() == []
    assert step == "head_object" or bucket.keys() == []


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("step", ["put_object", "upload_part"])
@pytest.mark.parametrize(
    ("status", "code"),
    [(507, "Whatever"), (403, "QuotaExceeded"), (507, "XMinioStorageFull")],
)
async def test_full_store(
    double: S3Proxy, storage: S3Storage, step: str, status: int, code: str
) -> None:
    """A store that has no room left is full."""
    double.order(refuse(status, code), step, times=FOR_EVER)
    await fails(lambda: try_to_write(storage, new_key(), STEPS[step]), "", StorageFull)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("step", ["put_object", "upload_part"])
async def test_other_bytes_are_stored(
    double: S3Proxy, storage: S3Storage, bucket: Bucket, step: str
) -> None:
    """What a store has received otherwise than it was sent is no blob."""
    double.order(corrupt_request, step, times=FOR_EVER)
    await fails(
        lambda: try_to_write(storage, new_key(), STEPS[step]), "stored other bytes"
    )
    double.recover()
    assert bucket.uploads() == []


@pytest_twisted.ensureDeferred
async def test_completed_after_all(
    double: S3Proxy, storage: S3Storage, bucket: Bucket
) -> None:
    """What the store says of an upload's completion does not count; what it has
    stored does."""
    for behaviour in (do_and_refuse(500, "InternalError"), lose_answer, late(6)):
        key = new_key()
        double.order(behaviour, "complete_multipart_upload")
        await try_to_write(storage, key, LARGE)
        assert await read(storage, key, 0, len(LARGE)) == LARGE
    assert bucket.uploads() == []


@pytest_twisted.ensureDeferred
async def test_completed_without_a_part(
    double: S3Proxy, storage: S3Storage, bucket: Bucket
) -> None:
    """A blob of another size than was sent is no blob."""

    def leave_one_out(exchange: Exchange) -> None:
        first, _, rest = exchange.body.partition(b"</Part>")
        exchange.body = first[: first.index(b"<Part>")] + rest
        exchange.answer(*exchange.forward())

    double.order(leave_one_out, "complete_multipart_upload", times=FOR_EVER)
    await fails(lambda: try_to_write(storage, new_key(), LARGE), "the stored size")


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("content", [SMALL, LARGE], ids=len)
@pytest.mark.parametrize(
    "behaviour",
    [refuse(500, "InternalError"), refuse(503, "SlowDown"), cut_answer, late(1)],
    ids=["500", "slow down", "cut off", "late"],
)
async def test_one_failure_of_a_download(
    double: S3Proxy, storage: S3Storage, content: bytes, behaviour: Behaviour
) -> None:
    """A download that fails or breaks off goes on where it was."""
    key = new_key()
    await write(storage, key, content)
    double.order(behaviour, "get_object")
    assert await read(storage, key, 0, len(content)) == content
    assert await read(storage, key, 5, len(content) - 9) == content[5:-4]


@pytest_twisted.ensureDeferred
async def test_download_that_breaks_off_again_and_again(
    double: S3Proxy, storage: S3Storage
) -> None:
    """It goes on as long as there is progress."""
    key = new_key()
    await write(storage, key, LARGE)
    double.order(cut_answer, "get_object", times=6)
    assert await read(storage, key, 0, len(LARGE)) == LARGE


@pytest_twisted.ensureDeferred
async def test_download_that_can_not_go_on(double: S3Proxy, storage: S3Storage) -> None:
    """What was read until S3 is gone is right; then comes an error, not an end."""
    key = new_key()
    await write(storage, key, LARGE)
    double.order(cut_answer, "get_object")
    double.order(refuse(500, "InternalError"), "get_object", times=FOR_EVER)
    reader = await storage.open(key, 0, len(LARGE))
    content = bytearray()
    with pytest.raises(Unavailable):
        await read_to_the_end(reader, content)
    await reader.close()
    assert 0 < len(content) < len(LARGE)
    assert LARGE.startswith(content)


@pytest_twisted.ensureDeferred
async def test_blob_that_goes_while_it_is_read(
    double: S3Proxy, storage: S3Storage
) -> None:
    """A download that breaks off and whose blob is gone ends with an error."""
    key = new_key()
    await write(storage, key, LARGE)
    double.order(cut_answer, "get_object")
    reader = await storage.open(key, 0, len(LARGE))
    await storage.delete([key])
    with pytest.raises(Unavailable):
        await read_to_the_end(reader, bytearray())
    await reader.close()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "behaviour",
    [refuse(500, "InternalError"), refuse(503, "SlowDown"), lose_answer],
    ids=["500", "slow down", "answer lost"],
)
async def test_one_failure_of_a_deletion(
    double: S3Proxy, storage: S3Storage, bucket: Bucket, behaviour: Behaviour
) -> None:
    """A deletion that fails is repeated; for good, it is an error."""
    keys = [new_key(), new_key()]
    for key in keys:
        await write(storage, key, SMALL)
    double.order(behaviour, "delete_objects", times=FOR_EVER)
    await fails(lambda: storage.delete(keys), "S3")
    double.recover()
    double.order(behaviour, "delete_objects")
    await storage.delete(keys)
    assert bucket.keys() == []


@pytest_twisted.ensureDeferred
async def test_store_that_is_down(double: S3Proxy, storage: S3Storage) -> None:
    """While S3 is down everything fails, in words, and works again as soon as S3
    is back."""
    await write(storage, key := new_key(), SMALL)
    with double.being_down():
        for attempt in (
            storage.check,
            lambda: try_to_write(storage, new_key(), SMALL),
            lambda: try_to_write(storage, new_key(), LARGE),
            lambda: read(storage, key, 0, 1),
            lambda: storage.delete([key]),
        ):
            await fails(attempt, "S3 does not answer")
    await storage.check()
    assert await read(storage, key, 0, len(SMALL)) == SMALL


@pytest_twisted.ensureDeferred
async def test_store_that_hangs(
    double: S3Proxy, storage: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that answers nothing is given up, also by those that only wait for
    a thread; there are never more calls at a time than threads."""
    monkeypatch.setattr(s3_client, "READ_SECONDS", 1.0)
    monkeypatch.setattr(thread_queue, "WAIT_SECONDS", 4.0)
    released = threading.Event()
    double.order(hang(released), *ALL, times=FOR_EVER)
    waiting: list[Deferred[object]] = [
        running(try_to_write(storage, new_key(), SMALL)) for _ in range(4 * TRANSFERS)
    ]
    await until(lambda: len(double.seen) == TRANSFERS)
    outcomes = await DeferredList(waiting, consumeErrors=True)
    failures = [failure for _, failure in outcomes if isinstance(failure, Failure)]
    assert len(failures) == len(outcomes)
    assert {type(failure.value) for failure in failures} == {Unavailable}
    reasons = {str(failure.value) for failure in failures}
    assert "storage: S3 does not answer (ReadTimeoutError)" in reasons
    assert "storage: S3 keeps all transfers busy" in reasons
    released.set()
    double.recover()
    await storage.check()


@pytest_twisted.ensureDeferred
async def test_connections_are_given_back(double: S3Proxy, storage: S3Storage) -> None:
    """A download that is left in the middle keeps no connection."""
    key = new_key()
    await write(storage, key, LARGE)
    before = double.open_connections()
    readers = [await storage.open(key, 0, len(LARGE)) for _ in range(10)]
    for reader in readers:
        assert await reader.read()
    assert double.open_connections() >= 10
    for reader in readers:
        await reader.close()
    await until(lambda: double.open_connections() <= before)
