"""Leaves the sending of a blob to nginx in front (``X-Accel-Redirect``).

nginx takes the answer's header ``X-Accel-Redirect`` for the address of a file, and
sends this instead of the answer. It judges the request's conditions and ranges
itself, on the file, and not always as is said here. So it gets only requests about
which both agree; the others are answered as if there were no nginx.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from qabel_block.http.headers import field
from qabel_block.http.transport.request import StreamingRequest
from qabel_block.operations.download import Selection

_JUDGED_OTHERWISE = (b"If-Match", b"If-Modified-Since", b"If-Unmodified-Since")
"""nginx holds these against a date of the file, or an ETag that it does not know."""

_PLAIN_RANGE = re.compile(r"bytes=(\d{1,18}-\d{0,18}|-\d{1,18})", re.ASCII)


class AccelRedirect:
    """Decides what nginx sends.

    :param locate: returns for a blob's key the URI under which nginx has the file.
    """

    def __init__(self, locate: Callable[[str], str]) -> None:
        self._locate = locate

    def suits(self, request: StreamingRequest, selection: Selection) -> bool:
        """Say whether nginx would send what is selected, all of the object or a
        part."""
        if any(field(request, name) is not None for name in _JUDGED_OTHERWISE):
            return False
        asked, on_condition = field(request, b"Range"), field(request, b"If-Range")
        if asked is None:
            return True
        return (
            selection.part is not None
            and _PLAIN_RANGE.fullmatch(asked) is not None
            and on_condition in (None, selection.stored.etag)
        )

    def announce(self, request: StreamingRequest, blob_key: str) -> None:
        """Tell nginx what to send. The answer itself has no body."""
        request.setResponseCode(200)
        request.responseHeaders.removeHeader(b"Content-Range")
        # nginx adds its own.
        request.responseHeaders.removeHeader(b"Accept-Ranges")
        request.setHeader(b"Content-Length", b"0")
        request.setHeader(b"X-Accel-Redirect", self._locate(blob_key).encode("ascii"))
