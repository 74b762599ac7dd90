"""Maps domain errors to HTTP responses (RFC 9457): the one table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import ceil
from uuid import uuid4

from twisted.logger import Logger
from twisted.python.failure import Failure
from werkzeug.datastructures import MIMEAccept
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
from werkzeug.http import parse_accept_header

from qabel_block import errors
from qabel_block.http.headers import accepted
from qabel_block.http.transport.request import StreamingRequest

log = Logger()

PROBLEM_JSON = "application/problem+json"

RETRY_SECONDS = 5
"""When to try again after a 503; dependencies that recover take a few seconds."""

StatusLines = Mapping[type[Exception], tuple[int, str]]

STATUS_LINES: StatusLines = {
    errors.BadRequest: (400, "Bad Request"),
    errors.QuotaReached: (402, "Quota reached"),
    errors.NoAuthorization: (403, "No authorization given"),
    errors.UnknownUser: (403, "User not found"),
    errors.UserDisabled: (403, "User is disabled"),
    errors.NotPermitted: (403, "Not allowed with this token"),
    errors.NotOwner: (403, "Not authorized for this prefix"),
    errors.OriginNotAllowed: (403, "Origin not allowed"),
    errors.ObjectNotFound: (404, "File not found"),
    errors.MethodRefused: (405, "Method Not Allowed"),
    errors.PreconditionFailed: (412, "Precondition Failed"),
    errors.BodyTooLarge: (413, "Content Too Large"),
    errors.UnsupportedEncoding: (415, "Unsupported Media Type"),
    errors.RangeNotSatisfiable: (416, "Range Not Satisfiable"),
    errors.TooManyFailedLogins: (429, "Too Many Requests"),
    errors.UpgradeRequired: (426, "Upgrade Required"),
    errors.BlobLost: (500, "Internal Server Error"),
    errors.Unavailable: (503, "Service Unavailable"),
    errors.BlobCollected: (503, "Service Unavailable"),
    errors.StorageFull: (507, "Insufficient Storage"),
}
"""The reason phrases are part of the contract: clients show them."""


_OF_NAMES = (b"/api/v0/files/", b"/api/v0/websocket/")
_GRAMMAR = (
    "A prefix is 1 to 36 of the characters A-Z a-z 0-9 _ and -; a path is one or more"
    " segments of 1 to 200 of them, joined by single slashes, 900 characters in all."
)
_AUTHORIZATION = (
    "Send the header Authorization: Token TOKEN, with your token in place of TOKEN."
    " Bearer and Basic are not understood here."
)

_OF_THE_OBJECT = (
    b"Content-Range",
    b"Content-Type",
    b"ETag",
    b"Last-Modified",
    b"Repr-Digest",
)
"""Headers that a handler may have set before it failed."""


def answer_failure(
    request: StreamingRequest,
    failure: Failure,
    status_lines: StatusLines = STATUS_LINES,
) -> bytes:
    """Turn an error into an answer and return the answer's body.

    If the answer has begun already, the connection is cut instead.
    """
    error = failure.value
    if isinstance(error, errors.ClientGone):
        return b""
    status, reason, detail = _describe(request, failure, status_lines)
    if request.startedWriting:
        request.abort()
        return b""
    request.setResponseCode(status, reason.encode("ascii"))
    for name in _OF_THE_OBJECT:
        request.responseHeaders.removeHeader(name)
    _set_headers(request, error, status)
    body = b""
    if _wants_body(request):
        problem = {"title": reason, "status": status}
        if detail:
            problem["detail"] = detail
        body = json.dumps(problem).encode("ascii")
        request.setHeader(b"Content-Type", PROBLEM_JSON.encode("ascii"))
    request.setHeader(b"Content-Length", b"%d" % len(body))
    return body


def answer_preflight(request: StreamingRequest, error: object) -> bool:
    """Answer a browser that asks what a page of another origin may send here
    (PROTOCOL section 12).

    :param error: in which the request has ended.
    :return: whether the request is one for that.
    """
    cross_origin = request.site.cross_origin
    if (
        not isinstance(error, MethodNotAllowed)
        or request.method != b"OPTIONS"
        or not cross_origin.names(request.getHeader(b"Origin"))
    ):
        return False
    request.setResponseCode(204)
    for name, value in cross_origin.preflight_headers(_methods(error)):
        request.setHeader(name, value)
    return True


def _describe(
    request: StreamingRequest, failure: Failure, status_lines: StatusLines
) -> tuple[int, str, str]:
    """Return status, reason and detail; log what an operator must hear of."""
    error = failure.value
    if isinstance(error, HTTPException):
        return error.code or 500, error.name, _advice(request, error)
    for kind in type(error).__mro__:
        if kind in status_lines:
            status, reason = status_lines[kind]
            if status >= 500 and not isinstance(error, errors.QuotaReached):
                log.warn(
                    "{status} for {request_id}: {kind} {error}",
                    status=status,
                    request_id=request.request_id,
                    kind=type(error).__name__,
                    error=str(error),
                )
                log.debug("{trace}", trace=failure.getTraceback())
            tells = status in (400, 415, 500, 503)
            return status, reason, str(error) if tells else _advice(request, error)
    incident = str(uuid4())
    log.failure(
        "incident {incident} in {request_id}",
        failure=failure,
        incident=incident,
        request_id=request.request_id,
    )
    return 500, "Internal Server Error", f"incident {incident}"


def _advice(request: StreamingRequest, error: object) -> str:
    """Return what to send instead, where a newcomer could not know."""
    if not request.path.startswith(b"/api/"):
        return ""
    if isinstance(error, NotFound) and request.path.startswith(_OF_NAMES):
        return _GRAMMAR
    scheme, _, token = (request.getHeader(b"Authorization") or b"").partition(b" ")
    if isinstance(error, errors.NoAuthorization) or (
        isinstance(error, errors.UnknownUser) and (scheme != b"Token" or not token)
    ):
        return _AUTHORIZATION
    return ""


def _set_headers(request: StreamingRequest, error: object, status: int) -> None:
    if isinstance(error, errors.PreconditionFailed) and error.etag is not None:
        request.setHeader(b"ETag", error.etag.encode("ascii"))
    if isinstance(error, errors.RangeNotSatisfiable):
        request.setHeader(b"Content-Range", b"bytes */%d" % error.size)
    if isinstance(error, MethodNotAllowed):
        request.setHeader(b"Allow", ", ".join(_methods(error)).encode("ascii"))
    if isinstance(error, errors.MethodRefused):
        request.setHeader(b"Allow", b"")
    if isinstance(error, errors.UnsupportedEncoding):
        # RFC 9110 section 15.5.16
        request.setHeader(b"Accept-Encoding", b"identity")
    if isinstance(error, errors.UpgradeRequired):
        # RFC 9110 section 15.5.22
        request.setHeader(b"Upgrade", b"websocket")
        request.setHeader(b"Connection", b"Upgrade")
        request.setHeader(b"Sec-WebSocket-Version", b"13")
    if isinstance(error, errors.TooManyFailedLogins):
        request.setHeader(b"Retry-After", b"%d" % max(ceil(error.seconds), 1))
    if status == 503:
        request.setHeader(b"Retry-After", b"%d" % RETRY_SECONDS)


def _methods(error: MethodNotAllowed) -> list[str]:
    """Return the methods that the resource has."""
    return sorted(error.valid_methods or ())


def _wants_body(request: StreamingRequest) -> bool:
    # Real clients leave a body they didn't ask for unread, which costs them
    # the connection, and after DELETE for good (PROTOCOL section 9).
    accept = accepted(request)
    if accept is None or request.method == b"DELETE":
        return False
    return parse_accept_header(accept, MIMEAccept)[PROBLEM_JSON] > 0
