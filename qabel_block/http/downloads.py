"""Answers GET and HEAD for objects."""

from __future__ import annotations

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from qabel_block.errors import BlobNotFound
from qabel_block.http.accel_redirect import AccelRedirect
from qabel_block.http.body_producer import send_blob
from qabel_block.http.headers import conditions, field
from qabel_block.http.transport.request import StreamingRequest
from qabel_block.interfaces import IBlobReader
from qabel_block.model import ObjectName, ReadState
from qabel_block.operations.objects import Operations
from qabel_block.rules.conditions import if_range_holds
from qabel_block.rules.digests import format_digest
from qabel_block.rules.ranges import select_range


@frozen
class _Part:
    """What of an object is to be sent: ``length`` bytes from ``start``."""

    start: int
    length: int


class Downloads:
    """Sends objects.

    :param clock: limits how long a client may stall.
    :param accel_redirect: what nginx sends instead, if there is one in front.
    """

    def __init__(
        self,
        operations: Operations,
        clock: IReactorTime,
        accel_redirect: AccelRedirect | None = None,
    ) -> None:
        self._operations = operations
        self._clock = clock
        self._accel_redirect = accel_redirect

    async def answer(self, request: StreamingRequest, name: ObjectName) -> None:
        """Send an object, a part of it, or only its head.

        :raises ObjectNotFound: if there is none.
        :raises QuotaReached: if the owner's traffic is used up.
        :raises PreconditionFailed: if ``If-Match`` does not hold.
        :raises RangeNotSatisfiable: if the range lies outside the object.
        :raises Unavailable: if ledger or storage fail. Bytes may have been
            sent by then.
        """
        request.setHeader(b"Accept-Ranges", b"bytes")  # whatever the answer
        try:
            await self._answer(request, name)
        except BlobNotFound:
            # Replaced or deleted, and collected, between the look and the read.
            await self._answer(request, name)

    async def _answer(self, request: StreamingRequest, name: ObjectName) -> None:
        found = await self._operations.find(name, request.request_id)
        part = _decide(request, found)
        if part is None or request.method == b"HEAD" or part.length == 0:
            return
        if self._accel_redirect and self._accel_redirect.suits(
            request, found.stored.etag
        ):
            # nginx does not tell how much of it the client took.
            self._operations.count_traffic(found.owner_id, part.length)
            self._operations.record_download(found.owner_id, name.prefix, part.length)
            self._accel_redirect.announce(request, found.stored.blob_key)
            return
        reader = await self._operations.open(found, part.start, part.length)
        await self._send(request, reader, part.length, name.prefix, found.owner_id)

    async def _send(
        self,
        request: StreamingRequest,
        reader: IBlobReader,
        length: int,
        prefix: str,
        owner_id: int,
    ) -> None:
        sent = 0

        def count(size: int) -> None:
            nonlocal sent
            sent += size
            self._operations.count_traffic(owner_id, size)

        try:
            await send_blob(request, reader, length, self._clock, count)
        finally:
            if sent:
                self._operations.record_download(owner_id, prefix, sent)


def _decide(request: StreamingRequest, found: ReadState) -> _Part | None:
    """Set the answer's head; return what is to be sent, ``None`` for 304."""
    stored = found.stored
    request.setResponseCode(200)
    request.responseHeaders.removeHeader(b"Content-Range")
    unmodified = conditions(request).check_read(stored.etag)
    request.setHeader(b"ETag", stored.etag.encode("ascii"))
    request.setHeader(b"Cache-Control", b"no-cache")
    if unmodified:
        request.setResponseCode(304)
        return None
    part = _Part(0, stored.size)
    if request.method == b"GET" and if_range_holds(
        field(request, "If-Range"), stored.etag
    ):
        selected = select_range(field(request, "Range"), stored.size)
        if selected is not None:
            part = _Part(selected.start, selected.length)
            request.setResponseCode(206)
            request.setHeader(b"Content-Range", selected.content_range.encode("ascii"))
    request.setHeader(b"Content-Length", b"%d" % part.length)
    request.setHeader(b"Content-Type", b"application/octet-stream")
    request.setHeader(b"X-Content-Type-Options", b"nosniff")
    if stored.sha256 is not None:
        request.setHeader(b"Repr-Digest", format_digest(stored.sha256).encode("ascii"))
    return part
