"""Stores that call themselves compatible: nothing is needed on which they differ.

What Ceph RGW 16 and others were seen to do is done here by a proxy before moto.
"""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from hashlib import md5
from typing import Any

import pytest
import pytest_twisted
import trustme
from twisted.internet.defer import gatherResults
from twisted.internet.task import Clock

from qabel_block.errors import BlobNotFound, Unavailable, WrongStorage
from qabel_block.storage.s3.storage import LEFT_OVER_SECONDS, S3Storage
from qabel_block.util.threads import ThreadPool
from tests.integration.storage.blobs import INSTALLATION, new_key, pattern, read, write
from tests.integration.storage.conftest import TRANSFERS, s3_storage, storage_behind
from tests.support.clocks import running, until
from tests.support.s3 import Bucket, Store
from tests.support.s3_faults import bad_chunk, head, ignore_range, instead, refuse, say
from tests.support.s3_proxy import Behaviour, Exchange, S3Proxy

SMALL = pattern(1000)
LARGE = pattern(5 * 2**20 + 70_000)
FOR_EVER = float("inf")

ALL = (
    "get_bucket",
    "head_bucket",
    "get_object",
    "head_object",
    "put_object",
    "create_multipart_upload",
    "delete_objects",
)
Attempt = Callable[[S3Storage], Coroutine[Any, Any, object]]
ATTEMPTS: list[Attempt] = [
    lambda storage: storage.identity(),
    lambda storage: storage.check(),
    lambda storage: read(storage, new_key(), 0, 1),
    lambda storage: write(storage, new_key(), SMALL),
    lambda storage: write(storage, new_key(), LARGE),
    lambda storage: storage.delete([new_key()]),
]


async def unavailable(attempting: Coroutine[Any, Any, object]) -> str:
    """Await what has to fail because of the store's trouble; return the reason."""
    with pytest.raises(Unavailable) as raised:
        await attempting
    assert not isinstance(raised.value, WrongStorage)
    assert len(raised.value.reason) < 200
    return raised.value.reason


@pytest.fixture(scope="module", params=["http", "https"])
def double(
    request: pytest.FixtureRequest,
    moto: Store,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[S3Proxy]:
    authority, ca_bundle = None, None
    if request.param == "https":
        authority = trustme.CA()
        ca_bundle = tmp_path_factory.mktemp("tls") / "ca.pem"
        authority.cert_pem.write_to_path(str(ca_bundle))
    with S3Proxy(moto, authority, ca_bundle) as proxy:
        yield proxy


@pytest.fixture
def bucket(moto: Store, double: S3Proxy) -> Bucket:
    bucket = moto.new_bucket()
    return Bucket(double.store, bucket.name, bucket.client)


@pytest_twisted.async_yield_fixture
async def storage(
    double: S3Proxy, bucket: Bucket, threads: ThreadPool
) -> AsyncIterator[S3Storage]:
    double.recover()
    async with storage_behind(double, bucket, threads) as storage:
        yield storage


@pytest_twisted.ensureDeferred
async def test_connections_are_shared(double: S3Proxy, storage: S3Storage) -> None:
    """Many readers of small blobs need no more connections than there are threads."""
    key = new_key()
    await write(storage, key, SMALL)

    async def read_all() -> None:
        assert await read(storage, key, 0, len(SMALL)) == SMALL

    await gatherResults([running(read_all()) for _ in range(50)])
    asked = [seen for seen in double.seen if seen.operation == "get_object"]
    assert len(asked) == 50
    assert len({id(seen.handler) for seen in asked}) <= TRANSFERS


@pytest_twisted.ensureDeferred
async def test_what_is_on_the_wire(double: S3Proxy, storage: S3Storage) -> None:
    """Bodies have a length and a Content-MD5, and nothing that only some stores
    understand: no checksums of other kinds, no trailers, no conditions."""
    keys = [new_key(), new_key()]
    await write(storage, keys[0], SMALL)
    await write(storage, keys[1], LARGE)
    await storage.delete(keys)
    with_body = [seen for seen in double.seen if seen.body]
    assert [seen.operation for seen in with_body] == [
        "put_object",
        "upload_part",
        "upload_part",
        "complete_multipart_upload",
        "delete_objects",
    ]
    for seen in double.seen:
        names = {name.lower() for name in seen.headers}
        assert not [name for name in names if name.startswith("x-amz-checksum")]
        assert not names & {
            "transfer-encoding",
            "content-encoding",
            "x-amz-trailer",
            "x-amz-sdk-checksum-algorithm",
            "if-match",
            "if-none-match",
        }
    for seen in with_body:
        assert int(seen.headers["Content-Length"]) == len(seen.body)
        if seen.operation != "complete_multipart_upload":
            digest = b64encode(md5(seen.body).digest()).decode()
            assert seen.headers["Content-MD5"] == digest
    # They are on their way at the same time.
    parts = sorted(with_body[1:3], key=lambda seen: "partNumber=2" in seen.target)
    assert b"".join(seen.body for seen in parts) == LARGE


@pytest_twisted.ensureDeferred
async def test_addressed_by_path(
    double: S3Proxy, storage: S3Storage, bucket: Bucket
) -> None:
    """The bucket is in the path, not in the name of the host."""
    await storage.check()
    assert double.seen[-1].target.strip("/") == bucket.name
    assert double.seen[-1].headers["Host"].startswith("127.0.0.1:")


@pytest_twisted.ensureDeferred
async def test_completion_without_an_etag(double: S3Proxy, storage: S3Storage) -> None:
    """What a completed upload answers is not needed."""
    double.order(instead(b"<ETag>.*?</ETag>", b""), "complete_multipart_upload")
    await write(storage, key := new_key(), LARGE)
    assert await read(storage, key, 0, len(LARGE)) == LARGE


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "behaviour",
    [
        head(etag=None),
        head(etag='"x-1"'),
        head(etag=f'"{"0" * 32}"', x_amz_server_side_encryption="aws:kms"),
    ],
    ids=["none", "no MD5", "encrypted"],
)
@pytest.mark.parametrize(
    ("step", "content"),
    [("put_object", SMALL), ("upload_part", LARGE)],
    ids=["small", "large"],
)
async def test_etag_that_is_no_digest(
    double: S3Proxy, storage: S3Storage, behaviour: Behaviour, step: str, content: bytes
) -> None:
    """Where the ETag tells nothing of the content, the stored size does."""
    double.order(behaviour, step, times=FOR_EVER)
    if step == "upload_part":
        # The store itself knows the right ones.
        double.order(complete_with_all_parts, "complete_multipart_upload")
    await write(storage, key := new_key(), content)
    assert "head_object" in double.operations()
    assert await read(storage, key, 0, len(content)) == content


def complete_with_all_parts(exchange: Exchange) -> None:
    """Complete with the ETags that the store has given, not those it was told."""
    tags = [
        md5(seen).hexdigest().encode()
        for seen in (LARGE[: 5 * 2**20], LARGE[5 * 2**20 :])
    ]
    parts = b"".join(
        b"<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>" % item
        for item in enumerate(tags, 1)
    )
    exchange.body = b"<CompleteMultipartUpload>%s</CompleteMultipartUpload>" % parts
    exchange.answer(*exchange.forward())


@pytest_twisted.ensureDeferred
async def test_wrong_size_without_an_etag(double: S3Proxy, storage: S3Storage) -> None:
    """A small blob whose digest can't be compared has to have its size."""

    def store_less(exchange: Exchange) -> None:
        exchange.body = exchange.body[:-1]
        del exchange.headers["Content-MD5"]
        exchange.headers.pop("X-Amz-Content-SHA256", None)
        head(etag=None)(exchange)

    double.order(store_less, "put_object")
    with pytest.raises(Unavailable, match="stored size"):
        await write(storage, new_key(), SMALL)


@pytest_twisted.ensureDeferred
async def test_abort_of_what_is_gone(double: S3Proxy, storage: S3Storage) -> None:
    """A store that answers 500 to the abortion of an upload that is gone is not
    asked again."""
    double.order(refuse(500, "UnknownError"), "abort_multipart_upload", times=FOR_EVER)
    writer = await storage.create(new_key())
    await writer.write(LARGE)
    await writer.abort()
    assert double.operations().count("abort_multipart_upload") == 1


@pytest_twisted.ensureDeferred
async def test_no_deletion_of_many(
    double: S3Proxy, storage: S3Storage, bucket: Bucket
) -> None:
    """A store that can't delete several blobs at a time deletes one by one."""
    keys = [new_key(), new_key()]
    for key in keys:
        await write(storage, key, SMALL)
    double.order(refuse(501, "NotImplemented"), "delete_objects", times=FOR_EVER)
    await storage.delete(keys)
    assert bucket.keys() == []


@pytest_twisted.ensureDeferred
async def test_deletion_of_some(
    double: S3Proxy, storage: S3Storage, bucket: Bucket
) -> None:
    """What a deletion of many says of each blob counts: one that is not there is
    deleted, any other error is one."""
    key = new_key()
    await write(storage, key, SMALL)
    error = f"<Error><Key>{key}</Key><Code>%s</Code></Error>"
    answer = f"<DeleteResult>{error}</DeleteResult>"
    for code, failed in (
        ("NoSuchKey", {}),
        ("InternalError", {key: "S3 answers InternalError"}),
        ("x" * 1000, {key: "S3 answers unknown"}),
    ):
        double.order(say(200, (answer % code).encode()), "delete_objects")
        assert await storage.delete([key]) == failed


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "behaviour",
    [
        say(200),
        say(202),
        say(204),
        say(200, b"<!DOCTYPE html><html>Welcome</html>"),
        say(202, b"<DeleteResult/>"),
        say(200, b"<DeleteResult><Error><Code>A</Code></Error></DeleteResult>"),
        say(200, b"<DeleteResult><Error><Key>other</Key></Error></DeleteResult>"),
    ],
    ids=["200", "202", "204", "html", "accepted", "no key", "other key"],
)
async def test_deletion_that_is_not_told(
    double: S3Proxy, storage: S3Storage, bucket: Bucket, behaviour: Behaviour
) -> None:
    """What does not say of the blobs that are asked for what became of them has
    deleted none."""
    await write(storage, key := new_key(), SMALL)
    double.order(behaviour, "delete_objects", times=FOR_EVER)
    await unavailable(storage.delete([key]))


@pytest_twisted.ensureDeferred
async def test_deletion_says_nothing_in_quiet_mode(
    double: S3Proxy, storage: S3Storage
) -> None:
    """An empty result is a deletion of all, with a declaration and a namespace or
    without."""
    namespace = b'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
    for body in (
        b"<DeleteResult/>",
        b'<?xml version="1.0"?>\n<DeleteResult %b></DeleteResult>' % namespace,
        b"<s:DeleteResult %b/>" % namespace.replace(b"=", b":s=", 1),
    ):
        double.order(say(200, body), "delete_objects")
        assert await storage.delete([new_key()]) == {}


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "body",
    [
        b"<Error><Code>A</Code><Code>B</Code></Error>",
        b"<Error><Code><a/></Code></Error>",
        b"<Error><Code>%b</Code></Error>" % (b"x" * 1000),
        b"<x><Error>text</Error></x>",
        b"<x><ResponseMetadata>text</ResponseMetadata></x>",
        b"<html>No</html>",
        b"<Err",
    ],
)
async def test_errors_that_make_no_sense(
    double: S3Proxy, storage: S3Storage, body: bytes
) -> None:
    """An error that can't be read is the store's trouble, whatever was asked."""
    double.order(say(400, body), *ALL, times=FOR_EVER)
    for attempt in ATTEMPTS:
        await unavailable(attempt(storage))


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("status", [301, 302, 307])
async def test_redirects(double: S3Proxy, storage: S3Storage, status: int) -> None:
    """A store that redirects everything is asked three times at the most: boto3 asks
    what was asked without it once more, and for the bucket's region."""
    double.order(say(status, Location="/"), *ALL, times=FOR_EVER)
    for attempt in ATTEMPTS:
        double.seen.clear()
        assert "redirects" in await unavailable(attempt(storage))
        assert len([seen for seen in double.operations() if seen in ALL]) <= 3


@pytest_twisted.ensureDeferred
async def test_region_that_the_store_tells(double: S3Proxy, storage: S3Storage) -> None:
    """A store that tells its region is asked again, for that one."""
    elsewhere = say(400, x_amz_bucket_region="eu-central-1")
    double.order(elsewhere, "head_bucket")
    await storage.check()
    assert "/eu-central-1/s3/" in double.seen[-1].headers["Authorization"]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "behaviour",
    [
        say(200),
        say(204),
        say(200, b"<html>Welcome</html>"),
        say(200, INSTALLATION[:20].encode()),
        say(206, INSTALLATION.encode()),
        say(200, INSTALLATION.encode() + b" " * 1000),
        say(200, INSTALLATION.encode() * 2),
        say(404),
        say(404, b"<html>Not found</html>"),
        bad_chunk,
    ],
)
async def test_identity_that_is_not_told(
    double: S3Proxy, storage: S3Storage, behaviour: Behaviour
) -> None:
    """An answer that is no id, nor says that there is none, is not the id of another
    installation, and not that of an empty bucket."""
    double.order(behaviour, "get_object", times=FOR_EVER)
    await unavailable(storage.identity())
    await unavailable(storage.check())


@pytest_twisted.ensureDeferred
async def test_body_that_makes_no_sense(double: S3Proxy, storage: S3Storage) -> None:
    """A body that can't be read has broken off: it is asked for again, not for
    ever."""
    await write(storage, key := new_key(), SMALL)
    double.order(bad_chunk, "get_object")
    assert await read(storage, key, 0, len(SMALL)) == SMALL
    double.order(bad_chunk, "get_object", times=FOR_EVER)
    assert "broke off" in await unavailable(read(storage, key, 0, len(SMALL)))


@pytest_twisted.ensureDeferred
async def test_date_that_makes_no_sense(double: S3Proxy, storage: S3Storage) -> None:
    """Nobody needs the date of a blob."""
    await write(storage, key := new_key(), SMALL)
    for date in ("1e400", "inf", "99999999999999999999"):
        double.order(head(last_modified=date), "get_object")
        assert await read(storage, key, 0, len(SMALL)) == SMALL


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "behaviour",
    [
        head(content_range=None),
        head(content_range="bytes 0-9/1000"),
        head(content_range="bytes 101-110/1000"),
    ],
    ids=["none", "other", "shifted"],
)
async def test_other_range_than_was_asked_for(
    double: S3Proxy, storage: S3Storage, behaviour: Behaviour
) -> None:
    """What is not said to be the range that was asked for is never returned."""
    await write(storage, key := new_key(), SMALL)
    double.order(behaviour, "get_object", times=FOR_EVER)
    with pytest.raises(Unavailable):
        await read(storage, key, 100, 10)


@pytest_twisted.ensureDeferred
async def test_head_that_makes_no_sense(double: S3Proxy, storage: S3Storage) -> None:
    """Nobody needs the date of a blob. A size that is no number is trouble of the
    store, not of the server."""
    await write(storage, key := new_key(), SMALL)
    double.order(head(last_modified="yesterday"), "get_object")
    assert await read(storage, key, 0, len(SMALL)) == SMALL
    double.order(head(etag=None), "put_object")
    double.order(head(x_amz_mp_parts_count="many"), "head_object")
    with pytest.raises(Unavailable):
        await write(storage, new_key(), SMALL)


@pytest_twisted.ensureDeferred
async def test_not_found_has_many_names(double: S3Proxy, storage: S3Storage) -> None:
    """A blob that is not there is not found, whatever the store calls it."""
    for code in ("NoSuchKey", "NotFound", "404"):
        double.order(refuse(404, code), "get_object")
        with pytest.raises(BlobNotFound):
            await read(storage, new_key(), 0, 1)


@pytest_twisted.ensureDeferred
async def test_bucket_in_another_region(double: S3Proxy, storage: S3Storage) -> None:
    """A bucket that is elsewhere is an error that says so."""
    double.order(refuse(301, "PermanentRedirect"), "get_object", times=FOR_EVER)
    with pytest.raises(Unavailable, match="in another region"):
        await read(storage, new_key(), 0, 1)


@pytest_twisted.ensureDeferred
async def test_listing_that_never_ends(
    double: S3Proxy, bucket: Bucket, threads: ThreadPool
) -> None:
    """A store that answers the same page again and again is left at it; what the
    page names is swept."""
    key = new_key()
    bucket.client.create_multipart_upload(Bucket=bucket.name, Key=key)
    marker = f"<IsTruncated>true</IsTruncated><NextKeyMarker>{key}</NextKeyMarker>"
    double.order(
        instead(rb"<IsTruncated>\w+</IsTruncated>", marker.encode()),
        "list_multipart_uploads",
        times=FOR_EVER,
    )
    clock = Clock()
    clock.advance(time.time() + 2 * LEFT_OVER_SECONDS)
    later = s3_storage(bucket, threads, clock=clock)
    double.seen.clear()
    await later.bind(INSTALLATION)
    await until(lambda: bucket.uploads() == [])
    await later.close()
    assert double.operations().count("list_multipart_uploads") <= 2


@pytest_twisted.ensureDeferred
async def test_whole_object_instead_of_a_range(
    double: S3Proxy, storage: S3Storage
) -> None:
    """A store that answers 200 is believed where all of the blob was asked for;
    otherwise it is said that it ignores ranges."""
    key = new_key()
    await write(storage, key, SMALL)
    double.order(ignore_range, "get_object", times=FOR_EVER)
    assert await read(storage, key, 0, len(SMALL)) == SMALL
    for start, length in ((0, len(SMALL) - 1), (1, len(SMALL) - 1)):
        with pytest.raises(Unavailable, match="whole object"):
            await read(storage, key, start, length)
    with pytest.raises(Unavailable, match="shorter"):
        await read(storage, key, 0, len(SMALL) + 1)
