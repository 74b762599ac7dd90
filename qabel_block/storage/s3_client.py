"""The few calls to S3 that are needed, made so that any store understands them.

Stores that call themselves compatible agree on less than they say. So nothing
here depends on conditional writes, on checksums other than ``Content-MD5``, on
what a completed multipart upload answers, or on errors being the right ones:
what was stored is looked at again.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import md5
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
)

from qabel_block.errors import BlobNotFound, StorageFull, Unavailable

CONNECT_SECONDS = 3.0
READ_SECONDS = 4.0
ATTEMPTS = 3
"""A store that is down costs at the most ATTEMPTS times READ_SECONDS, and a
little waiting between the attempts."""

PAGES = 10_000
"""The longest listing that is followed: a store that answers the same page again
and again is not followed for ever."""

_NO_SUCH_KEY = frozenset({"NoSuchKey", "NotFound", "404"})
_FULL = frozenset({"QuotaExceeded", "XMinioStorageFull", "InsufficientStorage"})
_NOT_IMPLEMENTED = frozenset({"NotImplemented", "MethodNotAllowed", "501", "405"})
_REFUSED = frozenset(
    {
        "AccessDenied",
        "403",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "InvalidToken",
        "ExpiredToken",
    }
)


class S3Client:
    """One bucket. All methods block, and may be called in any thread.

    All of them raise :class:`~qabel_block.errors.StorageFull` if the store is
    full, and :class:`~qabel_block.errors.Unavailable` for all other trouble.

    :param endpoint_url: of a store other than AWS; it is addressed by path.
    :param connections: to keep open.
    """

    def __init__(
        self,
        bucket: str,
        endpoint_url: str | None,
        region: str | None,
        connections: int,
    ) -> None:
        self._bucket = bucket
        session = boto3.session.Session()

        def connect(attempts: int) -> Any:
            return session.client(
                "s3",
                endpoint_url=endpoint_url,
                region_name=region or (endpoint_url and "us-east-1") or None,
                config=Config(
                    connect_timeout=CONNECT_SECONDS,
                    read_timeout=READ_SECONDS,
                    retries={"mode": "standard", "total_max_attempts": attempts},
                    max_pool_connections=connections,
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                    s3={"addressing_style": "path" if endpoint_url else "auto"},
                ),
            )

        with _errors():
            self._client = connect(ATTEMPTS)
            # Some stores answer 500 where nothing is left to do.
            self._impatient = connect(1)
        self._client.meta.events.register(
            "before-call.s3.DeleteObjects", _add_content_md5
        )

    def check(self) -> None:
        """Find out whether the bucket is there and we may use it."""
        try:
            self._client.head_bucket(Bucket=self._bucket)
        except ClientError as error:
            code = _code(error)
            if code in {*_NO_SUCH_KEY, "NoSuchBucket"}:
                raise Unavailable("storage", "the bucket does not exist") from error
            raise _translate(error) from error
        except (BotoCoreError, HTTPClientError) as error:
            raise _translate(error) from error

    def put(self, key: str, body: bytearray) -> None:
        """Store a whole blob."""
        with _errors():
            answer = self._client.put_object(
                Bucket=self._bucket, Key=key, Body=body, ContentMD5=_md5(body)
            )
        _check_etag(answer, body)

    def begin(self, key: str) -> str:
        """Begin a multipart upload and return its ID."""
        with _errors():
            answer = self._client.create_multipart_upload(Bucket=self._bucket, Key=key)
        return str(answer["UploadId"])

    def put_part(self, key: str, upload: str, number: int, body: bytearray) -> str:
        """Store a part, numbered from 1, and return its ETag."""
        with _errors():
            answer = self._client.upload_part(
                Bucket=self._bucket,
                Key=key,
                UploadId=upload,
                PartNumber=number,
                Body=body,
                ContentMD5=_md5(body),
            )
        _check_etag(answer, body)
        return str(answer["ETag"])

    def complete(self, key: str, upload: str, etags: Sequence[str], size: int) -> None:
        """Make the parts a blob of ``size`` bytes, and see that it is one."""
        parts = [
            {"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, 1)
        ]
        failure: Exception | None = None
        try:
            self._client.complete_multipart_upload(
                Bucket=self._bucket,
                Key=key,
                UploadId=upload,
                MultipartUpload={"Parts": parts},
            )
        except (ClientError, BotoCoreError, HTTPClientError) as error:
            # The answer may have been lost, and a repetition not understood.
            failure = error
        try:
            stored = self.size(key)
        except BlobNotFound:
            reason = failure or Unavailable("storage", "the upload was not kept")
            raise _translate(reason) from failure
        if stored != size:
            raise Unavailable("storage", "the stored size is not that of the upload")

    def abort(self, key: str, upload: str) -> None:
        """Forget a multipart upload; it is no error if it is not there."""
        try:
            self._impatient.abort_multipart_upload(
                Bucket=self._bucket, Key=key, UploadId=upload
            )
        except ClientError as error:
            if _code(error) != "NoSuchUpload":
                raise _translate(error) from error
        except (BotoCoreError, HTTPClientError) as error:
            raise _translate(error) from error

    def uploads(self) -> Iterator[tuple[str, str, float]]:
        """Return key, ID and start (seconds since 1970) of the multipart
        uploads that are under way."""
        marker: dict[str, str] = {}
        for _ in range(PAGES):
            with _errors():
                page = self._client.list_multipart_uploads(
                    Bucket=self._bucket, **marker
                )
            for upload in page.get("Uploads", ()):
                yield upload["Key"], upload["UploadId"], upload["Initiated"].timestamp()
            following = {
                name: page[f"Next{name}"]
                for name in ("KeyMarker", "UploadIdMarker")
                if page.get(f"Next{name}")
            }
            if not page.get("IsTruncated") or not following or following == marker:
                return
            marker = following

    def size(self, key: str) -> int:
        """Return a blob's size in bytes.

        :raises BlobNotFound: if there is none.
        """
        with _errors(missing=key):
            answer = self._client.head_object(Bucket=self._bucket, Key=key)
        return int(answer["ContentLength"])

    def open(self, key: str, start: int, length: int) -> Any:
        """Begin to read bytes of a blob; return botocore's ``StreamingBody``.

        :raises BlobNotFound: if there is no such blob.
        """
        end = start + length - 1
        with _errors(missing=key):
            answer = self._client.get_object(
                Bucket=self._bucket, Key=key, Range=f"bytes={start}-{end}"
            )
        served = str(answer.get("ContentRange", "")).partition("/")[0]
        if served != f"bytes {start}-{end}":
            answer["Body"].close()
            raise Unavailable("storage", "the blob is not as long as it should be")
        return answer["Body"]

    def delete(self, keys: Sequence[str]) -> None:
        """Delete up to 1,000 blobs."""
        try:
            answer = self._client.delete_objects(
                Bucket=self._bucket,
                Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True},
            )
        except ClientError as error:
            if _code(error) not in _NOT_IMPLEMENTED:
                raise _translate(error) from error
            for key in keys:
                with _errors():
                    self._client.delete_object(Bucket=self._bucket, Key=key)
            return
        except (BotoCoreError, HTTPClientError) as error:
            raise _translate(error) from error
        for failed in answer.get("Errors", ()):
            if failed.get("Code") not in _NO_SUCH_KEY:
                raise Unavailable("storage", f"deleting: {failed.get('Code')}")

    def close(self) -> None:
        """Close idle connections."""
        self._client.close()
        self._impatient.close()


class _errors:  # noqa: N801
    """Translates what boto3 raises.

    :param missing: the key of a blob that may not be there.
    """

    def __init__(self, missing: str | None = None) -> None:
        self._missing = missing

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: object, _traceback: object) -> None:
        if isinstance(error, ClientError):
            if self._missing is not None and _code(error) in _NO_SUCH_KEY:
                raise BlobNotFound(self._missing) from error
            raise _translate(error) from error
        if isinstance(error, BotoCoreError | HTTPClientError):
            raise _translate(error) from error


def _translate(error: Exception) -> Exception:
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return Unavailable("storage", "there are no credentials for S3")
    if not isinstance(error, ClientError):
        return Unavailable("storage", f"S3 does not answer ({type(error).__name__})")
    code = _code(error)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    if code in _FULL or status == 507:
        return StorageFull()
    if code in _REFUSED:
        return Unavailable("storage", f"S3 refuses our credentials ({code})")
    if code == "NoSuchBucket":
        return Unavailable("storage", "the bucket does not exist")
    return Unavailable("storage", f"S3 answers {code}")


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))


def _md5(body: bytes | bytearray) -> str:
    # For the transport only, by stores that know no other; nothing relies on
    # its strength.
    digest = md5(body, usedforsecurity=False).digest()
    return b64encode(digest).decode("ascii")


def _check_etag(answer: Mapping[str, Any], body: bytearray) -> None:
    """Compare what was stored, where the ETag is an MD5: it is none under
    encryption with keys of the store's key management."""
    if answer.get("ServerSideEncryption", "AES256") != "AES256":
        return
    etag = str(answer.get("ETag", "")).strip('"')
    if len(etag) == 32 and etag != md5(body, usedforsecurity=False).hexdigest():
        raise Unavailable("storage", "S3 stored other bytes than it was sent")


def _add_content_md5(params: dict[str, Any], **_context: object) -> None:
    # Stores of some years ago want it here, and botocore sends it no more.
    params["headers"]["Content-MD5"] = _md5(params["body"])


Connect = Callable[[], S3Client]
