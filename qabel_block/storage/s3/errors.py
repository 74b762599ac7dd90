"""Maps errors of boto3 to domain errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
)

from qabel_block.errors import BlockError, StorageFull, Unavailable

FAILURES = (BotoCoreError, ClientError, ValueError)
"""All that boto3 raises on its own; ``ValueError`` where a store answers with a number
that is none."""

NO_SUCH_KEY = frozenset({"NoSuchKey", "NotFound", "404"})
NO_SUCH_BUCKET = "the bucket does not exist"

NO_CREDENTIALS = (
    "there are no credentials for S3, where objects are kept without --local-storage or"
    " --standalone"
)

_FULL = frozenset({"QuotaExceeded", "XMinioStorageFull", "InsufficientStorage"})
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
_ELSEWHERE = frozenset({"PermanentRedirect", "AuthorizationHeaderMalformed", "301"})


@contextmanager
def translated() -> Iterator[None]:
    """Raise the domain's errors instead of boto3's."""
    try:
        yield
    except FAILURES as error:
        raise translate(error) from error


def translate(error: BaseException) -> BlockError:
    """Return the error that says to an operator what boto3's means."""
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return Unavailable("storage", NO_CREDENTIALS)
    if isinstance(error, HTTPClientError | ConnectionError):
        return Unavailable("storage", f"S3 does not answer ({type(error).__name__})")
    if not isinstance(error, ClientError):
        return Unavailable("storage", f"S3 can't be used ({type(error).__name__})")
    code = code_of(error)
    if code in _FULL or status_of(error) == 507:
        return StorageFull()
    if code in _REFUSED:
        return Unavailable("storage", f"S3 refuses our credentials ({code})")
    if code in _ELSEWHERE:
        return Unavailable("storage", f"the bucket is in another region ({code})")
    if code == "NoSuchBucket":
        return Unavailable("storage", NO_SUCH_BUCKET)
    return Unavailable("storage", f"S3 answers {code}")


def code_of(error: BaseException) -> str:
    """Return the store's code for what is wrong, or the status as text."""
    if not isinstance(error, ClientError):
        return ""
    return str(error.response.get("Error", {}).get("Code", "unknown"))


def status_of(error: BaseException) -> int:
    """Return the status of the store's answer, 0 if there was none."""
    if not isinstance(error, ClientError):
        return 0
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
