"""Downloads: from the lookup in the ledger to the last byte sent.

What an object is can change at any time, but the blob that it was when it was looked
up can't: a download sends that one to its end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from qabel_block.errors import (
    BlobLost,
    BlobNotFound,
    ObjectNotFound,
    TrafficQuotaReached,
)
from qabel_block.interfaces import (
    IAuthenticator,
    IBlobReader,
    IFileBlobReader,
    IStorageBackend,
)
from qabel_block.ledger.ledger import Ledger
from qabel_block.model import ObjectName, ReadState, StoredObject
from qabel_block.operations.traffic import TrafficMeter
from qabel_block.operations.usage import UNRECORDED, TransferRecorder, UsageEvent
from qabel_block.rules.conditions import Conditions, if_range_holds
from qabel_block.rules.quota import month_of, traffic_exhausted
from qabel_block.rules.ranges import ByteRange, select_range
from qabel_block.util.budget import transferring

log = Logger()

LOST = "storage has lost the content of this object"


@frozen
class Selection:
    """What of an object's current version is to be sent.

    :ivar owner_id: the user who pays for the traffic.
    :ivar part: ``None`` for the whole object.
    :ivar unmodified: whether the client has this version already; nothing is sent.
    """

    stored: StoredObject
    owner_id: int
    part: ByteRange | None = None
    unmodified: bool = False

    @property
    def start(self) -> int:
        """The offset of the first byte."""
        return self.part.start if self.part else 0

    @property
    def length(self) -> int:
        """Bytes from there on."""
        return self.part.length if self.part else self.stored.size


@frozen
class Download:
    """What the head of a request says about a download.

    :ivar head_only: whether only the head of the answer is wanted, which costs no
        traffic.
    :ivar range_header: the value of ``Range``, if there is one.
    :ivar if_range: the value of ``If-Range``, if there is one.
    :ivar request_id: of the request.
    """

    name: ObjectName
    conditions: Conditions
    head_only: bool
    range_header: str | None
    if_range: str | None
    request_id: str

    def select(self, found: ReadState) -> Selection:
        """Decide what of an object to send.

        :raises PreconditionFailed: if a condition does not hold.
        :raises RangeNotSatisfiable: if the range lies outside the object.
        """
        stored, owner_id = found.stored, found.owner_id
        if self.conditions.check_read(stored.etag, stored.modified):
            return Selection(stored, owner_id, unmodified=True)
        part = None
        # Range means nothing to other methods than GET (RFC 9110 section 14.2).
        if not self.head_only and if_range_holds(self.if_range, stored.etag):
            part = select_range(self.range_header, stored.size)
        return Selection(stored, owner_id, part)

    def is_sent(self, selection: Selection) -> bool:
        """Say whether any byte is to be sent."""
        return not (self.head_only or selection.unmodified) and selection.length > 0


class Recipient(Protocol):
    """Who takes a download: the client, as HTTP sees it."""

    def reads_itself(self, selection: Selection) -> bool:
        """Say whether the recipient gets at the blob without this server, as a
        proxy does that shares its disk."""

    def begin(self, selection: Selection, delegated: bool) -> None:
        """Take note of what will be sent. Called once, before any byte, when nothing
        but a failure in the middle can keep it from being sent.

        :param delegated: whether the recipient has said that it reads this itself.
        """

    async def ready(self) -> None:
        """Return when the recipient can take more.

        :raises ClientGone: if that will never be.
        """

    def write(self, data: bytes) -> None:
        """Take the next bytes."""

    def can_send_files(self) -> bool:
        """Say whether :meth:`send_file` may be called. Asked after the first
        ``write``."""

    def send_file(self, reader: IFileBlobReader, size: int) -> int | None:
        """Let the kernel send some of the next ``size`` bytes of a reader; called
        when the recipient is ready.

        :return: bytes that were sent; 0 if they have to be read and written; ``None``
            if the recipient is not ready any more.
        """

    def end(self) -> None:
        """Take note that nothing more will be written. Called once after ``begin``,
        also if the download fails."""


class Downloads:
    """Sends objects.

    :param now: seconds since 1970.
    :param record_usage: told what was downloaded.
    :param record: entered for the time of each download that sends a body; learns
        from the error how it ended.
    :param record_lost: told of each download of which the blob is lost.
    """

    def __init__(
        self,
        ledger: Ledger,
        storage: IStorageBackend,
        authenticator: IAuthenticator,
        traffic: TrafficMeter,
        now: Callable[[], float],
        record_usage: Callable[[UsageEvent], None],
        record: TransferRecorder = UNRECORDED,
        record_lost: Callable[[], None] = lambda: None,
    ) -> None:
        self._ledger = ledger
        self._storage = storage
        self._authenticator = authenticator
        self._traffic = traffic
        self._now = now
        self._record_usage = record_usage
        self._record = record
        self._record_lost = record_lost

    async def send(self, download: Download, recipient: Recipient) -> None:
        """Send an object, a part of it, or only its head, whoever asks.

        The bytes count as traffic of the prefix's owner when they are written.

        :raises ObjectNotFound: if there is none.
        :raises TrafficQuotaReached: if the owner's traffic of this month is used up.
        :raises PreconditionFailed: if a condition does not hold.
        :raises RangeNotSatisfiable: if the range lies outside the object.
        :raises ClientGone: if the recipient stops taking bytes.
        :raises BlobLost: if storage has lost the object's content.
        :raises Unavailable: if ledger or storage fail. Bytes may have been
            written by then.
        """
        with UNRECORDED if download.head_only else self._record:
            await self._send(download, recipient)

    async def _send(self, download: Download, recipient: Recipient) -> None:
        selection, reader = await self._open(download, recipient)
        sent = 0

        def count(size: int) -> None:
            nonlocal sent
            sent += size
            self._traffic.add(selection.owner_id, size)

        delegated = reader is None and download.is_sent(selection)
        try:
            recipient.begin(selection, delegated)
            if reader is not None:
                with transferring():
                    await transfer(reader, selection.length, recipient, count)
            elif delegated:
                # A proxy does not tell how much of it the client took.
                count(selection.length)
        finally:
            recipient.end()
            if sent:
                prefix = download.name.prefix
                self._record_usage(
                    UsageEvent(selection.owner_id, prefix, downloaded=sent)
                )

    async def _open(
        self, download: Download, recipient: Recipient
    ) -> tuple[Selection, IBlobReader | None]:
        """Look the object up and begin to read it, if there is anything to read."""
        missing = ""
        while True:
            selection = download.select(await self._find(download))
            if not download.is_sent(selection):
                return selection, None
            delegated = recipient.reads_itself(selection)
            # Whoever reads it itself can't tell a blob that is lost, or a storage that
            # is the wrong one, from an object that was deleted.
            length = 1 if delegated else selection.length
            key = selection.stored.blob_key
            try:
                reader = await self._storage.open(key, selection.start, length)
                if not delegated:
                    return selection, reader
                await reader.close()
                return selection, None
            except BlobNotFound:
                if key == missing:
                    # The ledger still points at it, in the storage that is its own.
                    log.error(
                        "the blob {key} of {name} is lost; run: qabel-block verify",
                        key=key,
                        name=download.name,
                    )
                    self._record_lost()
                    raise BlobLost(LOST) from None
                # Replaced or deleted, and collected, since it was looked up.
                missing = key

    async def _find(self, download: Download) -> ReadState:
        while True:
            asked = self._traffic.moment()
            month = month_of(self._now())
            found = await self._ledger.find(download.name, month)
            if found is None:
                raise ObjectNotFound
            owner = await self._authenticator.account(
                found.owner_id, download.request_id
            )
            used = found.traffic + self._traffic.unwritten(asked, found.owner_id, month)
            if not traffic_exhausted(quota=owner.traffic_quota, used=used):
                return found
            if self._traffic.is_exact(asked):
                raise TrafficQuotaReached
            # Some may be counted twice, here and in the ledger.
            await self._traffic.settled()


async def transfer(
    reader: IBlobReader, length: int, recipient: Recipient, count: Callable[[int], None]
) -> None:
    """Write all that ``reader`` has to the recipient, and close the reader.

    What the kernel can send is not read, except for the first piece. Of anything else
    one piece is read ahead while another is on its way to the client; so two pieces
    are in memory at the most.

    :param length: bytes that the reader will return in all.
    :param count: told the number of bytes whenever some are written.
    """
    file = reader if IFileBlobReader.providedBy(reader) else None
    ahead: Deferred[bytes] | None = None
    try:
        piece = await reader.read()
        while piece:
            length -= len(piece)
            if length > 0 and file is None:
                ahead = Deferred.fromCoroutine(reader.read())
            await recipient.ready()
            count(len(piece))
            recipient.write(piece)
            if file is not None and not recipient.can_send_files():
                file = None
            if file is not None:
                length = await _send_from_memory(file, length, recipient, count)
            if length <= 0:
                break
            piece, ahead = await (ahead or reader.read()), None
    finally:
        if ahead is not None:
            await ahead.addErrback(lambda _: b"")
        await reader.close()


async def _send_from_memory(
    file: IFileBlobReader,
    length: int,
    recipient: Recipient,
    count: Callable[[int], None],
) -> int:
    """Let the kernel send what it has in memory; return how much is left."""
    while length > 0:
        await recipient.ready()
        sent = recipient.send_file(file, length)
        if sent == 0:
            break
        if sent is not None:
            count(sent)
            length -= sent
    return length
