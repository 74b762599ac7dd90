"""Maps errors of boto3 to domain errors."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
)
from twisted.logger import Logger, LogLevel

from qabel_block.errors import BlockError, StorageFull, Unavailable

log = Logger()

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
_ELSEWHERE = frozenset({"PermanentRedirect", "AuthorizationHeaderMalformed"})

NO_SENSE = "S3 answers what makes no sense"
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@contextmanager
def translated() -> Iterator[None]:
    """Raise the domain's errors instead of others; all calls of boto3 are made in here.

    An answer that makes no sense makes botocore raise anything, ``TypeError`` included:
    that is the store's trouble. As it may be a mistake of ours, the log has it.
    """
    try:
        yield
    except BlockError:
        raise
    except Exception as error:
        if not isinstance(error, BotoCoreError | ClientError):
            log.failure("S3's answer can't be read", level=LogLevel.debug)
        raise _translate(error) from error


def _translate(error: Exception) -> BlockError:
    """Return the error that says to an operator what boto3's means."""
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return Unavailable("storage", NO_CREDENTIALS)
    if isinstance(error, HTTPClientError | ConnectionError):
        return Unavailable("storage", f"S3 does not answer ({type(error).__name__})")
    if isinstance(error, BotoCoreError):
        return Unavailable("storage", f"S3 can't be used ({type(error).__name__})")
    if not isinstance(error, ClientError):
        return Unavailable("storage", f"{NO_SENSE} ({type(error).__name__})")
    code, status = _code(error), _status(error)
    if code in _FULL or status == 507:
        return StorageFull()
    if code in _REFUSED:
        return Unavailable("storage", f"S3 refuses our credentials ({code})")
    if code in _ELSEWHERE or 300 <= status < 400:
        reason = f"the bucket is in another region, or S3 redirects ({code})"
        return Unavailable("storage", reason)
    if code == "NoSuchBucket":
        return Unavailable("storage", NO_SUCH_BUCKET)
    return Unavailable("storage", f"S3 answers {code}")


def code_of(error: BlockError) -> str:
    """Return the store's code for what is wrong, or the status as text; empty if the
    store has not said that something is.

    :param error: of :func:`translated`.
    """
    return _code(error.__cause__)


def status_of(error: BlockError) -> int:
    """Return the status of the store's answer, 0 if there was none.

    :param error: of :func:`translated`.
    """
    return _status(error.__cause__)


def shown_code(code: object) -> str:
    """Return a store's code, ``unknown`` if it is none that can be shown."""
    return code if isinstance(code, str) and _CODE.fullmatch(code) else "unknown"


def text_of(answer: Mapping[str, Any], field: str) -> str:
    """Return a field of an answer.

    :raises Unavailable: if it is not there.
    """
    text = answer.get(field)
    if not isinstance(text, str) or not text:
        raise Unavailable("storage", f"{NO_SENSE} (no {field})")
    return text


def _code(error: object) -> str:
    if not isinstance(error, ClientError):
        return ""
    return shown_code(error.response.get("Error", {}).get("Code"))


def _status(error: object) -> int:
    if not isinstance(error, ClientError):
        return 0
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
