"""A listing of a store that fails, and of a disk that does."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor

from qabel_block.errors import Unavailable
from qabel_block.model import ListedBlob
from qabel_block.storage.local import scan
from qabel_block.storage.local.listing import LocalListing
from qabel_block.storage.s3.client import S3Client
from qabel_block.storage.s3.listing import S3Listing
from qabel_block.util.threads import ThreadPool
from tests.integration.storage.conftest import TRANSFERS, connecting
from tests.support.s3 import Bucket, Store
from tests.support.s3_faults import cut_answer, instead, refuse, say
from tests.support.s3_proxy import Exchange, S3Proxy

KEYS = [f"p/{number:02}" for number in range(25)]
FOR_EVER = float("inf")


@pytest.fixture(scope="module")
def double(moto: Store) -> Iterator[S3Proxy]:
    with S3Proxy(moto) as proxy:
        yield proxy


@pytest.fixture
def bucket(double: S3Proxy) -> Bucket:
    """A bucket with three pages of blobs."""
    double.recover()
    bucket = double.store.new_bucket()
    for key in KEYS:
        bucket.client.put_object(Bucket=bucket.name, Key=key, Body=b"four")
    return bucket


@pytest_twisted.async_yield_fixture
async def listing(
    double: S3Proxy, bucket: Bucket, threads: ThreadPool
) -> AsyncIterator[S3Listing]:
    double.seen.clear()
    listing = S3Listing(connecting(bucket), threads, reactor, TRANSFERS, page=10)
    yield listing
    double.recover()
    await listing.close()


async def below(listing: S3Listing | LocalListing, prefix: str) -> list[ListedBlob]:
    return [blob async for page in listing.blobs(prefix) for blob in page.blobs]


def backwards(exchange: Exchange) -> None:
    """Answer a listing in another order than S3's."""
    status, headers, body = exchange.forward()
    head, *items = body.split(b"<Contents>")
    *items, last = items
    item, end, tail = last.partition(b"</Contents>")
    order = [*reversed([*items, item + end])]
    exchange.answer(status, headers, b"<Contents>".join([head, *order]) + tail)


@pytest_twisted.ensureDeferred
async def test_troubles_that_pass(listing: S3Listing, double: S3Proxy) -> None:
    """A page that can't be had once is asked for again."""
    double.order(refuse(503, "SlowDown"), "get_bucket", times=1)
    double.order(cut_answer, "get_bucket", times=1)
    assert [blob.key for blob in await below(listing, "p")] == KEYS


@pytest_twisted.ensureDeferred
async def test_half_a_listing_is_none(listing: S3Listing, double: S3Proxy) -> None:
    """A store that says there is more, but not where, is not taken at its word."""
    token = rb"<NextContinuationToken>.*?</NextContinuationToken>"
    double.order(instead(token, b""), "get_bucket", times=FOR_EVER)
    with pytest.raises(Unavailable, match="breaks off a listing"):
        await below(listing, "p")


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("field", "value"),
    [("LastModified", b"yesterday"), ("LastModified", b""), ("Size", b"many")],
)
async def test_what_is_listed_makes_no_sense(
    listing: S3Listing, double: S3Proxy, field: str, value: bytes
) -> None:
    """An object without a size or a time that can be read is trouble of the store."""
    tag = field.encode()
    double.order(
        instead(b"(<%b>).*?(</%b>)" % (tag, tag), rb"\g<1>%b\2" % value),
        "get_bucket",
        times=FOR_EVER,
    )
    with pytest.raises(Unavailable):
        await below(listing, "p")


def _page(content: str, more: str = "false") -> bytes:
    text = f"<IsTruncated>{more}</IsTruncated>{content}"
    return f"<ListBucketResult>{text}</ListBucketResult>".encode()


def _object(key: str = "p/1", size: str = "<Size>4</Size>") -> str:
    modified = "<LastModified>2026-11-28T04:19:41.000Z</LastModified>"
    return f"<Contents><Key>{key}</Key>{size}{modified}</Contents>"


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b""),
        (202, b""),
        (204, b""),
        (200, b"<html/>"),
        (200, b"<ListBucketResult/>"),
        (202, _page("")),
        (200, _page("")[:-5]),
        (200, _page("", "true")),
        (200, _page(2 * "<NextContinuationToken>a</NextContinuationToken>", "true")),
        (200, _page("<Contents/><CommonPrefixes/>")),
        (200, _page("<Contents>text</Contents><CommonPrefixes>p/</CommonPrefixes>")),
        (200, _page(_object("other/1") + _object("p/2"))),
        (200, _page(_object(size="<Size>-1</Size>"))),
        (200, _page(_object(size=f"<Size>{2**63}</Size>"))),
        (200, _page(_object(size="<Size>4</Size><Size>4</Size>"))),
    ],
)
async def test_page_that_makes_no_sense(
    listing: S3Listing, double: S3Proxy, status: int, body: bytes
) -> None:
    """What is not a page of what was asked for is no empty bucket, and no error of
    the server."""
    double.order(say(status, body), "get_bucket", times=FOR_EVER)
    with pytest.raises(Unavailable):
        await below(listing, "p")
    if b"<Key>" not in body:
        with pytest.raises(Unavailable):
            [page async for page in listing.prefixes()]


@pytest_twisted.ensureDeferred
async def test_head_that_makes_no_sense(listing: S3Listing, double: S3Proxy) -> None:
    """A size that none can have is trouble of the store."""
    modified = {"last_modified": "Sat, 28 Nov 2026 04:19:41 GMT"}
    for size in ("-1", str(2**63), "many"):
        double.order(say(200, b"", **modified, content_length=size), "head_object")
        with pytest.raises(Unavailable):
            await listing.stat(KEYS[:1])


@pytest.mark.parametrize("upload", ["", "<Key>k</Key>", "<UploadId>1</UploadId>"])
def test_uploads_that_make_no_sense(
    bucket: Bucket, double: S3Proxy, upload: str
) -> None:
    """An upload that can't be aborted, for it has no key or no ID, is none."""
    begun = "<Initiated>2026-11-28T04:19:41.000Z</Initiated>"
    body = f"<R><Upload>{upload}{begun}</Upload></R>".encode()
    double.order(say(200, body), "list_multipart_uploads")
    client: S3Client = connecting(bucket)()
    with pytest.raises(Unavailable):
        list(client.uploads())


@pytest_twisted.ensureDeferred
async def test_listing_in_circles(listing: S3Listing, double: S3Proxy) -> None:
    """A store that leads back to a page that was there before is left."""
    tokens = cycle("ab")

    def alternate(exchange: Exchange) -> None:
        token = f"<NextContinuationToken>{next(tokens)}</NextContinuationToken>"
        exchange.answer(200, {}, _page(token, "true"))

    double.order(alternate, "get_bucket", times=FOR_EVER)
    with pytest.raises(Unavailable, match="breaks off a listing"):
        await below(listing, "p")
    assert len(double.seen) == 3


@pytest_twisted.ensureDeferred
async def test_endless_listing(listing: S3Listing, double: S3Proxy) -> None:
    """A store that sends the same page again and again is left in the end."""
    double.order(
        instead(
            rb"<NextContinuationToken>.*?</NextContinuationToken>",
            b"<NextContinuationToken>garbage</NextContinuationToken>",
        ),
        "get_bucket",
        times=FOR_EVER,
    )
    with pytest.raises(Unavailable):
        await below(listing, "p")


@pytest_twisted.ensureDeferred
async def test_any_order(listing: S3Listing, double: S3Proxy) -> None:
    """Blobs are found in a store that lists in an order of its own, though with
    more questions."""
    found = await listing.stat(KEYS[12:])
    assert set(found) == set(KEYS[12:])
    assert double.operations().count("head_object") == 0
    double.order(backwards, "get_bucket", times=FOR_EVER)
    assert await listing.stat(KEYS[12:]) == found


@pytest_twisted.ensureDeferred
async def test_store_goes_away(listing: S3Listing, double: S3Proxy) -> None:
    """If the store goes away in the middle, that is no end of the listing."""
    pages = listing.blobs("p")
    assert len((await anext(pages)).blobs) == 10
    with double.being_down(), pytest.raises(Unavailable):
        await anext(pages)


@pytest_twisted.ensureDeferred
async def test_one_bad_object(listing: S3Listing, double: S3Proxy) -> None:
    """An object that can't be read does not keep the others from being read, but
    a store that is down does."""
    blobs = (await below(listing, "p"))[:4]

    def refuse_one(exchange: Exchange) -> None:
        if exchange.target.endswith(blobs[2].key):
            exchange.refuse(403, "InvalidObjectState")
        else:
            exchange.answer(*exchange.forward())

    double.order(refuse_one, "get_object", times=FOR_EVER)
    digests = await listing.digests(blobs)
    assert digests[blobs[2].key].sha256 is None
    assert "InvalidObjectState" in digests[blobs[2].key].trouble
    assert all(digests[b.key].sha256 for b in blobs if b != blobs[2])
    with double.being_down(), pytest.raises(Unavailable):
        await listing.digests(blobs)


class _BadSector:
    """The module ``os``, on a disk with a sector that can't be read."""

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def read(self, descriptor: int, size: int) -> bytes:
        if os.fstat(descriptor).st_size == 3:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return os.read(descriptor, size)


@pytest_twisted.ensureDeferred
async def test_bad_sector(
    threads: ThreadPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that can't be read does not keep the others from being read."""
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "bad").write_bytes(b"bad")
    (tmp_path / "p" / "good").write_bytes(b"good")
    listing = LocalListing(tmp_path, threads)
    blobs = await below(listing, "p")
    monkeypatch.setattr(scan, "os", _BadSector())
    digests = await listing.digests(blobs)
    assert digests["p/bad"].trouble == "Input/output error"
    assert digests["p/bad"].sha256 is None
    assert digests["p/good"].sha256 is not None
