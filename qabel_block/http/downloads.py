"""Answers GET and HEAD for objects."""

from __future__ import annotations

import time
from functools import lru_cache

from twisted.internet.interfaces import IReactorTime
from werkzeug.http import http_date

from qabel_block.http.accel_redirect import AccelRedirect
from qabel_block.http.body_producer import BodyProducer
from qabel_block.http.headers import conditions, field
from qabel_block.http.transport.request import StreamingRequest
from qabel_block.interfaces import IFileBlobReader
from qabel_block.model import ObjectName
from qabel_block.operations.download import Download, Downloads, Selection
from qabel_block.rules.digests import format_digest


class DownloadAnswers:
    """Sends objects to clients over HTTP.

    :param clock: limits how long a client may stall.
    :param accel_redirect: what nginx sends instead, if there is one in front.
    """

    def __init__(
        self,
        downloads: Downloads,
        clock: IReactorTime,
        accel_redirect: AccelRedirect | None = None,
    ) -> None:
        self._downloads = downloads
        self._clock = clock
        self._accel_redirect = accel_redirect

    async def answer(self, request: StreamingRequest, name: ObjectName) -> None:
        """Send an object, a part of it, or only its head.

        :raises BlockError: what :meth:`Downloads.send` raises. Bytes may have been
            sent by then.
        """
        request.setHeader(b"Accept-Ranges", b"bytes")  # whatever the answer
        request.setHeader(b"Cache-Control", b"no-cache")
        download = Download(
            name,
            conditions(request),
            request.method == b"HEAD",
            field(request, b"Range"),
            field(request, b"If-Range"),
            request.request_id,
        )
        recipient = HTTPRecipient(request, self._clock, self._accel_redirect)
        await self._downloads.send(download, recipient)


class HTTPRecipient:
    """The client of one request, as the recipient of a download."""

    def __init__(
        self,
        request: StreamingRequest,
        clock: IReactorTime,
        accel_redirect: AccelRedirect | None = None,
    ) -> None:
        self._request = request
        self._accel_redirect = accel_redirect
        self._producer = BodyProducer(request, clock)

    def reads_itself(self, selection: Selection) -> bool:
        """See :meth:`Recipient.reads_itself`: nginx may."""
        return self._accel_redirect is not None and self._accel_redirect.suits(
            self._request, selection
        )

    def begin(self, selection: Selection, delegated: bool) -> None:
        """See :meth:`Recipient.begin`: set the answer's head."""
        set_head(self._request, selection)
        if delegated:
            assert self._accel_redirect is not None
            self._accel_redirect.announce(self._request, selection.stored.blob_key)

    async def ready(self) -> None:
        """See :meth:`Recipient.ready`."""
        await self._producer.ready()

    def write(self, data: bytes) -> None:
        """See :meth:`Recipient.write`."""
        self._producer.write(data)

    def can_send_files(self) -> bool:
        """See :meth:`Recipient.can_send_files`."""
        return self._producer.can_send_files()

    def send_file(self, reader: IFileBlobReader, size: int) -> int | None:
        """See :meth:`Recipient.send_file`."""
        return self._producer.send_file(reader, size)

    def end(self) -> None:
        """See :meth:`Recipient.end`."""
        self._producer.unregister()


@lru_cache(1024)
def _format_date(seconds: int) -> bytes:
    return http_date(seconds).encode("ascii")


def set_head(request: StreamingRequest, selection: Selection) -> None:
    """Set the status and the headers of an answer that sends this."""
    stored = selection.stored
    request.setHeader(b"ETag", stored.etag.encode("ascii"))
    if stored.modified is not None:
        # Never after Date, whatever the clock of the node that took the upload
        # says (RFC 9110 section 8.8.2.1).
        date = _format_date(min(stored.modified, int(time.time())))
        request.setHeader(b"Last-Modified", date)
    if selection.unmodified:
        request.setResponseCode(304)
        return
    if selection.part is not None:
        request.setResponseCode(206)
        content_range = selection.part.content_range
        request.setHeader(b"Content-Range", content_range.encode("ascii"))
    request.setHeader(b"Content-Length", b"%d" % selection.length)
    request.setHeader(b"Content-Type", b"application/octet-stream")
    request.setHeader(b"X-Content-Type-Options", b"nosniff")
    if stored.sha256 is not None:
        request.setHeader(b"Repr-Digest", format_digest(stored.sha256).encode("ascii"))
