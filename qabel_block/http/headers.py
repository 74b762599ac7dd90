"""Reads request headers, and writes JSON bodies, for several handlers."""

from __future__ import annotations

import json
import re

from qabel_block.http.transport.request import StreamingRequest
from qabel_block.rules.conditions import UNCONDITIONAL, Conditions

_CONDITIONS = (
    b"If-Match",
    b"If-None-Match",
    b"If-Modified-Since",
    b"If-Unmodified-Since",
)

_BLANKS = re.compile(r"[ \t]+")


def field(request: StreamingRequest, name: bytes) -> str | None:
    """Return a header's value, its lines joined (RFC 9110 section 5.3)."""
    lines = request.requestHeaders.getRawHeaders(name)
    if lines is None:
        return None
    return b", ".join(lines).decode("latin-1")


def accepted(request: StreamingRequest) -> str | None:
    """Return the value of ``Accept``, with single blanks: the time that werkzeug takes
    to parse it grows with the square of a run of them."""
    value = field(request, b"Accept")
    return None if value is None else _BLANKS.sub(" ", value)


def conditions(request: StreamingRequest) -> Conditions:
    """Return what the request asks of the object's ETag and date."""
    if not any(map(request.requestHeaders.hasHeader, _CONDITIONS)):
        return UNCONDITIONAL
    return Conditions.parse(*(field(request, name) for name in _CONDITIONS))


def json_answer(request: StreamingRequest, status: int, value: object) -> bytes:
    """Prepare an answer in JSON and return its body."""
    return json_body(request, status, json.dumps(value).encode("ascii"))


def json_body(request: StreamingRequest, status: int, body: bytes) -> bytes:
    """Prepare an answer that is JSON already and return its body."""
    request.setResponseCode(status)
    request.setHeader(b"Content-Type", b"application/json")
    request.setHeader(b"Content-Length", b"%d" % len(body))
    return body
