"""The few calls to S3 that are needed, made so that any store understands them.

Stores that call themselves compatible agree on less than they say. So nothing
here depends on conditional writes, on checksums other than ``Content-MD5``, on
what a completed multipart upload answers, or on errors being the right ones:
what was stored is looked at again.
"""

from __future__ import annotations

import re
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import cached_property
from hashlib import md5
from typing import Any

import boto3
import botocore.session
from botocore.awsrequest import AWSPreparedRequest
from botocore.config import Config
from botocore.exceptions import ReadTimeoutError

from qabel_block.errors import BlobNotFound, BlockError, Unavailable
from qabel_block.names import IDENTITY
from qabel_block.storage.s3 import timestamps
from qabel_block.storage.s3.errors import (
    NO_SENSE,
    NO_SUCH_BUCKET,
    NO_SUCH_KEY,
    code_of,
    shown_code,
    status_of,
    text_of,
    translated,
)
from qabel_block.storage.s3.pages import S3Pages
from qabel_block.storage.s3.signed_requests import BucketAddress, SignedRequests
from qabel_block.storage.s3.upload_body import UploadBody

CONNECT_SECONDS = 3.0
READ_SECONDS = 4.0
ATTEMPTS = 3
"""A store that is down costs at the most ATTEMPTS times READ_SECONDS, and up to
three seconds of waiting between the attempts."""

COMPLETE_SECONDS = 12.0
"""For a store that is putting parts together. Those for which this takes longer
send spaces meanwhile, at the latest after ten seconds."""

PAGES = 10_000
"""The longest listing that is followed: a store that answers the same page again
and again is not followed for ever."""

LONGEST_IDENTITY = 100
"""Bytes of the object that is read to know whose bucket it is."""

NO_ID = "the bucket's identity can't be read"
TOO_SHORT = "a blob is shorter than it should be"
IGNORES_RANGES = "S3 answers with the whole object where a part of it was asked for"
CUT_OFF = "an answer of S3 is not whole"
"""The connection ended within its head, of which botocore takes what there is."""

_BEGAN = "qabel_block_began"
_NOT_IMPLEMENTED = frozenset({"NotImplemented", "MethodNotAllowed", "501", "405"})
_MD5 = re.compile(r"[0-9a-f]{32}")
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_FIRST_ELEMENT = re.compile(rb"<(?:\w+:)?(\w+)")


def new_session() -> boto3.session.Session:
    """Return a session of boto3, which reads files, and timestamps in our way."""
    core = botocore.session.get_session()
    parsers = core.get_component("response_parser_factory")
    parsers.set_parser_defaults(timestamp_parser=timestamps.parse)
    return boto3.session.Session(botocore_session=core)


def _ignore(_seconds: float) -> None:
    pass


class S3Client:
    """One bucket. All methods block, and may be called in any thread.

    All of them raise :class:`~qabel_block.errors.StorageFull` if the store is
    full, and :class:`~qabel_block.errors.Unavailable` for all other trouble.

    :param endpoint_url: of a store other than AWS; it is addressed by path.
    :param connections: to keep open.
    :param record: told how many seconds each request took; an answer's body is not
        waited for.
    """

    def __init__(
        self,
        bucket: str,
        endpoint_url: str | None,
        region: str | None,
        connections: int,
        record: Callable[[float], object] = _ignore,
    ) -> None:
        self._bucket = bucket
        self._endpoint_url = endpoint_url
        self._region = region
        self._connections = connections
        self._record = record
        self._connecting = threading.Lock()
        self._clients: list[Any] = []
        self._sent = threading.local()
        with translated():
            self._session = new_session()
            self._client = self._connect(ATTEMPTS, READ_SECONDS)
        self._signed = SignedRequests(
            self._session.get_credentials,
            connections=connections,
            seconds=(CONNECT_SECONDS, READ_SECONDS),
            record=record,
        )
        self._client.meta.events.register(
            "before-sign.s3.DeleteObjects", _use_content_md5
        )
        self._client.meta.events.register(
            "before-parse.s3.DeleteObjects", _require_result
        )
        self._client.meta.events.register(
            "before-send.s3.GetObject", self._note_address
        )

    @cached_property
    def _again(self) -> Any:
        """For what was tried once."""
        return self._connect(ATTEMPTS - 1, READ_SECONDS)

    @cached_property
    def _impatient(self) -> Any:
        """Tries once: some stores answer 500 where nothing is left to do."""
        return self._connect(1, READ_SECONDS)

    @cached_property
    def _patient(self) -> Any:
        """Waits longer, and tries once."""
        return self._connect(1, COMPLETE_SECONDS)

    def _connect(self, attempts: int, seconds: float) -> Any:
        with self._connecting:  # of a session's methods one may be called at a time
            client = self._session.client(
                "s3",
                endpoint_url=self._endpoint_url,
                # Where the operator names none, AWS tells the right one.
                region_name=self._region or self._session.region_name or "us-east-1",
                config=Config(
                    connect_timeout=CONNECT_SECONDS,
                    read_timeout=seconds,
                    retries={"mode": "standard", "total_max_attempts": attempts},
                    max_pool_connections=self._connections,
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                    parameter_validation=False,  # all of them are our own
                    s3={"addressing_style": "path" if self._endpoint_url else "auto"},
                ),
            )
            self._clients.append(client)
        client.meta.events.register("before-sign.s3", _expect_nothing)
        client.meta.events.register_first(
            "needs-retry.s3.HeadBucket", _ask_for_no_region
        )
        _record_calls(client, self._record)
        return client

    def check(self) -> None:
        """Find out whether the bucket is there and we may use it."""
        try:
            with translated():
                self._client.head_bucket(Bucket=self._bucket)
        except BlockError as error:
            if code_of(error) in NO_SUCH_KEY:
                raise Unavailable("storage", NO_SUCH_BUCKET) from error
            raise

    def identity(self) -> str | None:
        """Return the id that the bucket keeps, ``None`` if it keeps none.

        Only S3 itself knows that: what else answers, a proxy for instance, answers 404
        without a code, or 200 with a page.
        """
        try:
            with translated():
                answer = self._client.get_object(Bucket=self._bucket, Key=IDENTITY)
                with closing(answer["Body"]) as body:
                    content: bytes = body.read(LONGEST_IDENTITY)
        except BlockError as error:
            if code_of(error) in NO_SUCH_KEY - {"404"}:
                return None
            raise
        found = content.decode("ascii", "replace").strip()
        if (
            answer["ResponseMetadata"]["HTTPStatusCode"] != 200
            or answer.get("ContentLength", len(content)) != len(content)
            or not _ID.fullmatch(found)
        ):
            raise Unavailable("storage", NO_ID)
        self._signed.send_to(self._sent.address)
        return found

    def _note_address(self, request: AWSPreparedRequest, **_context: object) -> None:
        self._sent.address = BucketAddress.used(request, IDENTITY)

    def set_identity(self, installation: str) -> None:
        """Make the bucket keep an id."""
        self.put(IDENTITY, memoryview(f"{installation}\n".encode("ascii")))

    def put(self, key: str, body: memoryview) -> None:
        """Store a whole blob."""
        with UploadBody(body, time.monotonic) as sent, translated():
            content_md5 = _base64(sent.digest)
            answer = self._signed.put(key, sent, content_md5) or self._again.put_object(
                Bucket=self._bucket, Key=key, Body=sent, ContentMD5=content_md5
            )
        if not _checked(answer, sent.digest):
            self._check_size(key, len(body), None)

    def begin(self, key: str) -> str:
        """Begin a multipart upload and return its ID."""
        with translated():
            answer = self._client.create_multipart_upload(Bucket=self._bucket, Key=key)
        if not answer.get("UploadId"):
            raise Unavailable("storage", CUT_OFF)
        return str(answer["UploadId"])

    def put_part(self, key: str, upload: str, number: int, body: memoryview) -> str:
        """Store a part, numbered from 1, and return its ETag."""
        query = {"partNumber": number, "uploadId": upload}
        with UploadBody(body, time.monotonic) as sent, translated():
            content_md5 = _base64(sent.digest)
            answer = self._signed.put(
                key, sent, content_md5, query
            ) or self._again.upload_part(
                Bucket=self._bucket,
                Key=key,
                UploadId=upload,
                PartNumber=number,
                Body=sent,
                ContentMD5=content_md5,
            )
        _checked(answer, sent.digest)
        return str(answer.get("ETag") or f'"{sent.digest.hex()}"')

    def complete(self, key: str, upload: str, etags: Sequence[str], size: int) -> None:
        """Make the parts a blob of ``size`` bytes, and see that it is one."""
        failure = self._complete(key, upload, etags)
        self._check_size(key, size, failure)

    def _complete(
        self, key: str, upload: str, etags: Sequence[str]
    ) -> BlockError | None:
        """Complete an upload; return what went wrong as far as S3 tells.

        What takes too long is not repeated: the store may be at work still.
        """
        parts = [
            {"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, 1)
        ]
        failure: BlockError | None = None
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(attempt)
            try:
                with translated():
                    self._patient.complete_multipart_upload(
                        Bucket=self._bucket,
                        Key=key,
                        UploadId=upload,
                        MultipartUpload={"Parts": parts},
                    )
            except BlockError as error:
                failure = error
                too_long = isinstance(error.__cause__, ReadTimeoutError)
                if too_long or 0 < status_of(error) < 500:
                    break
            else:
                return None
        return failure

    def abort(self, key: str, upload: str) -> None:
        """Forget a multipart upload; it is no error if it is not there."""
        try:
            with translated():
                self._impatient.abort_multipart_upload(
                    Bucket=self._bucket, Key=key, UploadId=upload
                )
        except BlockError as error:
            if code_of(error) != "NoSuchUpload":
                raise

    def uploads(self) -> Iterator[tuple[str, str, float]]:
        """Return key, ID and start (seconds since 1970) of the multipart
        uploads that are under way."""
        marker: dict[str, str] = {}
        for _ in range(PAGES):
            with translated():
                page = self._client.list_multipart_uploads(
                    Bucket=self._bucket, **marker
                )
            for upload in page.get("Uploads", ()):
                initiated = upload.get("Initiated")
                if initiated is not None:
                    identifier = text_of(upload, "UploadId")
                    yield text_of(upload, "Key"), identifier, initiated.timestamp()
            following = {
                name: page[f"Next{name}"]
                for name in ("KeyMarker", "UploadIdMarker")
                if page.get(f"Next{name}")
            }
            if not page.get("IsTruncated") or not following or following == marker:
                return
            marker = following

    def open(self, key: str, start: int, length: int) -> Any:
        """Begin to read bytes of a blob; return botocore's ``StreamingBody``.

        :raises BlobNotFound: if there is no such blob.
        """
        byte_range = f"bytes={start}-{start + length - 1}"
        try:
            with translated():
                answer = self._signed.get(key, byte_range) or self._again.get_object(
                    Bucket=self._bucket, Key=key, Range=byte_range
                )
        except BlockError as error:
            if status_of(error) == 416:
                raise Unavailable("storage", TOO_SHORT) from error
            if code_of(error) in NO_SUCH_KEY:
                raise BlobNotFound(key) from error
            raise
        trouble = _range_mismatch(answer, start, length)
        if trouble:
            answer["Body"].close()
            raise Unavailable("storage", trouble)
        return answer["Body"]

    def delete(self, keys: Sequence[str]) -> dict[str, str]:
        """Delete up to 1,000 blobs; return for those that were not why."""
        try:
            with translated():
                answer = self._client.delete_objects(
                    Bucket=self._bucket,
                    Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True},
                )
        except BlockError as error:
            if code_of(error) not in _NOT_IMPLEMENTED:
                raise
            return self._delete_each(keys)
        failed = {
            text_of(error, "Key"): shown_code(error.get("Code"))
            for error in answer.get("Errors", ())
        }
        if not failed.keys() <= set(keys):
            # It is not known which of those that were asked for are meant.
            raise Unavailable("storage", NO_SENSE)
        return {
            key: f"S3 answers {code}"
            for key, code in failed.items()
            if code not in NO_SUCH_KEY
        }

    def _delete_each(self, keys: Sequence[str]) -> dict[str, str]:
        failed = {}
        for key in keys:
            try:
                with translated():
                    self._client.delete_object(Bucket=self._bucket, Key=key)
            except BlockError as error:
                if not code_of(error):
                    raise
                failed[key] = f"S3 answers {code_of(error)}"
        return failed

    def pages(self, size: int) -> S3Pages:
        """Return what lists the bucket, so many keys at a time."""
        return S3Pages(self._client, self._bucket, size)

    def close(self) -> None:
        """Close idle connections."""
        for client in (*self._clients, self._signed):
            client.close()

    def _check_size(self, key: str, size: int, failure: BlockError | None) -> None:
        """See whether a blob is there, and as large as it should be.

        :param failure: what went wrong before, if it is not there.
        """
        try:
            with translated():
                answer = self._client.head_object(Bucket=self._bucket, Key=key)
        except BlockError as error:
            if code_of(error) not in NO_SUCH_KEY:
                raise
            if failure is not None:
                raise failure from failure.__cause__
            raise Unavailable("storage", "the upload was not kept") from error
        if "ContentLength" not in answer:
            raise Unavailable("storage", CUT_OFF)
        if answer["ContentLength"] != size:
            raise Unavailable("storage", "the stored size is not that of the upload")


def _range_mismatch(answer: Mapping[str, Any], start: int, length: int) -> str:
    """Return what is wrong with the bytes that an answer has; empty if nothing is."""
    if answer["ResponseMetadata"].get("HTTPStatusCode") == 200:
        # Some stores answer like this where the range is the whole object.
        if start > 0 or answer.get("ContentLength", -1) > length:
            return IGNORES_RANGES
        return "" if answer.get("ContentLength") == length else TOO_SHORT
    served = str(answer.get("ContentRange", "")).partition("/")[0]
    return "" if served == f"bytes {start}-{start + length - 1}" else TOO_SHORT


def _base64(digest: bytes) -> str:
    return b64encode(digest).decode("ascii")


def _checked(answer: Mapping[str, Any], digest: bytes) -> bool:
    """Compare what was stored, if the ETag is an MD5.

    It is none where the store's key management encrypts, and need not be one at
    all.

    :return: whether it could be compared.
    :raises Unavailable: if it is something else than was sent.
    """
    etag = str(answer.get("ETag", "")).strip('"').lower()
    if answer.get("ServerSideEncryption", "AES256") != "AES256" or not _MD5.fullmatch(
        etag
    ):
        return False
    if etag != digest.hex():
        raise Unavailable("storage", "S3 stored other bytes than it was sent")
    return True


def _expect_nothing(request: Any, **_context: object) -> None:
    # botocore would wait a second for a "100 Continue", and for ever if that is
    # cut off in the middle.
    del request.headers["Expect"]


def _ask_for_no_region(
    request_dict: Mapping[str, Any], response: Any, **_context: object
) -> None:
    # Where S3 redirects, botocore asks with HeadBucket for the region; where that is
    # redirected without telling one, it would ask again until the stack is full.
    if response is not None and "x-amz-bucket-region" not in response[0].headers:
        request_dict["context"]["s3_redirect"]["redirected"] = True


def _require_result(response_dict: Mapping[str, Any], **_context: object) -> None:
    # S3 names only what it could not delete. So would a page that is none of its own.
    if response_dict["status_code"] >= 300:
        return
    root = _FIRST_ELEMENT.search(response_dict["body"])
    # botocore takes an error for one whatever the status is.
    known = root is not None and root[1] in (b"DeleteResult", b"Error")
    if response_dict["status_code"] != 200 or not known:
        raise Unavailable("storage", NO_SENSE)


def _record_calls(client: Any, record: Callable[[float], object]) -> None:
    """Make a client of boto3 tell how long its calls take."""

    def begin(context: dict[str, Any], **_: object) -> None:
        context[_BEGAN] = time.monotonic()

    def end(context: dict[str, Any], **_: object) -> None:
        record(time.monotonic() - context[_BEGAN])

    client.meta.events.register("before-call.s3", begin)
    client.meta.events.register("after-call.s3", end)
    client.meta.events.register("after-call-error.s3", end)


def _use_content_md5(request: Any, **_context: object) -> None:
    # Stores of some years ago want it here; botocore sends what they don't know.
    for name in list(request.headers):
        if name.lower().startswith(("x-amz-checksum-", "x-amz-sdk-checksum-")):
            del request.headers[name]
    digest = md5(request.data, usedforsecurity=False).digest()
    del request.headers["Content-MD5"]
    request.headers["Content-MD5"] = _base64(digest)


Connect = Callable[[], S3Client]


class S3Connection:
    """Makes one client for all threads.

    :param connect: makes it: that reads files and may ask the cloud for
        credentials, and is tried again by the next who asks if it fails.
    """

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._client: S3Client | None = None

    def client(self) -> S3Client:
        """Return the client; in a thread."""
        with self._lock:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def close(self) -> None:
        """Close the client, if there is one."""
        if self._client is not None:
            self._client.close()
