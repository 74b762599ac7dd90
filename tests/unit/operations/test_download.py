"""Downloads, over a ledger, a storage and a client that do as they are told."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface import implementer

from qabel_block.errors import (
    BlobLost,
    BlobNotFound,
    ClientGone,
    ObjectNotFound,
    PreconditionFailed,
    QuotaReached,
    RangeNotSatisfiable,
    Unavailable,
)
from qabel_block.interfaces import IFileBlobReader
from qabel_block.model import Account, ObjectName, ReadState, StoredObject
from qabel_block.operations.download import Download, Downloads, Selection, transfer
from qabel_block.operations.traffic import TrafficMeter
from qabel_block.operations.usage import UsageEvent
from qabel_block.rules.conditions import UNCONDITIONAL, Conditions

OWNER = 7
NAME = ObjectName("prefix", "path")
STORED = StoredObject("prefix/path~1", 9, '"e1"', None)
DOWNLOAD = Download(NAME, UNCONDITIONAL, False, None, None, "request")
T = TypeVar("T")


def _now(work: Coroutine[Deferred[Any], Any, T]) -> T:
    """Return what a coroutine returns that waits for nothing."""
    outcome: list[Any] = []
    Deferred.fromCoroutine(work).addBoth(outcome.append)
    (result,) = outcome
    if hasattr(result, "raiseException"):
        result.raiseException()
    return result  # type: ignore[no-any-return]


@define
class _World:
    """The doubles around one :class:`Downloads`.

    :ivar found: what the ledger says, one after the other; the last one for ever.
    :ivar blobs: what storage has.
    :ivar closed: readers that were closed.
    """

    found: list[StoredObject | None] = field(factory=lambda: [STORED])
    blobs: dict[str, list[bytes]] = field(
        factory=lambda: {STORED.blob_key: [b"012", b"345", b"678"]}
    )
    traffic: int = 0
    closed: int = 0
    lost: int = 0
    opened: list[tuple[str, int, int]] = field(factory=list)
    written: list[list[Any]] = field(factory=list)
    usage: list[UsageEvent] = field(factory=list)

    async def find(self, _name: ObjectName, _month: str) -> ReadState | None:
        stored = self.found.pop(0) if len(self.found) > 1 else self.found[0]
        return None if stored is None else ReadState(stored, OWNER, self.traffic)

    async def account(self, user_id: int, _request_id: str) -> Account:
        return Account(user_id, True, 0, 100)

    async def open(self, key: str, start: int, length: int) -> _Reader:
        self.opened.append((key, start, length))
        if key not in self.blobs:
            raise BlobNotFound(key)
        return _Reader(self, list(self.blobs[key]))

    async def add_traffic(self, counts: Any) -> None:
        self.written.append([(one.user_id, one.traffic) for one in counts])

    def lose(self) -> None:
        self.lost += 1

    def send(self, recipient: _Recipient, download: Download = DOWNLOAD) -> None:
        meter = TrafficMeter(self.add_traffic, Clock(), lambda: 0.0)
        doubles: Any = self
        downloads = Downloads(
            *(doubles, doubles, doubles, meter),
            *(lambda: 0.0, self.usage.append),
            record_lost=self.lose,
        )
        try:
            _now(downloads.send(download, recipient))
        finally:
            _now(meter.flush())


@define
class _Reader:
    world: _World
    pieces: list[bytes]

    async def read(self) -> bytes:
        piece = self.pieces.pop(0) if self.pieces else b""
        if piece == b"broken":
            raise Unavailable("storage", "broken")
        return piece

    async def close(self) -> None:
        self.world.closed += 1


@define
class _Recipient:
    """Takes all, or so many pieces and then leaves."""

    takes: int = 100
    proxy: bool = False
    files: bool = True
    begun: list[Selection] = field(factory=list)
    data: list[bytes] = field(factory=list)
    ended: int = 0

    def reads_itself(self, _selection: Selection) -> bool:
        return self.proxy

    def begin(self, selection: Selection, delegated: bool) -> None:
        assert delegated == self.proxy
        self.begun.append(selection)

    async def ready(self) -> None:
        if len(self.data) == self.takes:
            raise ClientGone

    def write(self, data: bytes) -> None:
        self.data.append(data)

    def can_send_files(self) -> bool:
        return self.files

    def send_file(self, reader: IFileBlobReader, size: int) -> int | None:
        return reader.send(0, size)

    def end(self) -> None:
        self.ended += 1


def test_download_is_sent_and_paid_for() -> None:
    """All pieces are written; the bytes are the owner's traffic and one usage
    event."""
    world, recipient = _World(), _Recipient()
    world.send(recipient)
    assert recipient.data == [b"012", b"345", b"678"]
    assert recipient.begun == [Selection(STORED, OWNER)]
    assert world.opened == [(STORED.blob_key, 0, 9)]
    assert world.written == [[(OWNER, 9)]]
    assert world.usage == [UsageEvent(OWNER, "prefix", downloaded=9)]
    assert (world.closed, recipient.ended) == (1, 1)


def test_range_is_opened_as_it_is_asked_for() -> None:
    """Only the part is read, and the recipient knows which."""
    world, recipient = _World(), _Recipient()
    world.send(recipient, evolve(DOWNLOAD, range_header="bytes=2-5"))
    assert world.opened == [(STORED.blob_key, 2, 4)]
    (selection,) = recipient.begun
    assert selection.part is not None
    assert selection.part.content_range == "bytes 2-5/9"


@pytest.mark.parametrize(
    "download",
    [
        evolve(DOWNLOAD, head_only=True),
        evolve(DOWNLOAD, conditions=Conditions.parse(None, '"e1"')),
    ],
    ids=["HEAD", "not modified"],
)
def test_head_costs_nothing(download: Download) -> None:
    """Without a body no blob is opened, and there is neither traffic nor usage."""
    world, recipient = _World(), _Recipient()
    world.send(recipient, download)
    assert (world.opened, world.written, world.usage) == ([], [], [])
    assert (len(recipient.begun), recipient.ended) == (1, 1)


@pytest.mark.parametrize(
    ("world", "download", "error"),
    [
        (_World([None]), DOWNLOAD, ObjectNotFound),
        (_World(traffic=101), DOWNLOAD, QuotaReached),
        (
            _World(),
            evolve(DOWNLOAD, conditions=Conditions.parse('"e2"', None)),
            PreconditionFailed,
        ),
        (_World(), evolve(DOWNLOAD, range_header="bytes=9-"), RangeNotSatisfiable),
    ],
    ids=["absent", "quota", "condition", "range"],
)
def test_refusal_begins_nothing(
    world: _World, download: Download, error: type[Exception]
) -> None:
    """A refused download opens no blob, and the recipient hears of nothing."""
    recipient = _Recipient()
    with pytest.raises(error):
        world.send(recipient, download)
    assert (world.opened, recipient.begun, recipient.ended) == ([], [], 0)


def test_collected_blob_is_looked_up_once_more() -> None:
    """A blob that was replaced and collected after the lookup: the version that
    replaced it is sent, and the recipient hears only of that."""
    newer = StoredObject("prefix/path~2", 3, '"e2"', None)
    world = _World([STORED, newer], {newer.blob_key: [b"new"]})
    recipient = _Recipient()
    world.send(recipient)
    assert recipient.begun == [Selection(newer, OWNER)]
    assert recipient.data == [b"new"]


def test_lost_blob_is_an_error() -> None:
    """A blob that is missing while the ledger still points at it is no reason to
    look for ever; it is counted."""
    world, recipient = _World(blobs={}), _Recipient()
    with pytest.raises(BlobLost) as caught:
        world.send(recipient)
    assert STORED.blob_key not in str(caught.value)
    assert len(world.opened) == 2
    assert recipient.begun == []
    assert world.lost == 1


def test_aborted_download_costs_what_was_sent() -> None:
    """A client that leaves pays for what was written, and the reader is closed."""
    world, recipient = _World(), _Recipient(takes=2)
    with pytest.raises(ClientGone):
        world.send(recipient)
    assert world.written == [[(OWNER, 6)]]
    assert world.usage == [UsageEvent(OWNER, "prefix", downloaded=6)]
    assert (world.closed, recipient.ended) == (1, 1)


def test_failing_storage_ends_the_download() -> None:
    """A reader that fails in the middle is closed; what was sent is paid for."""
    world = _World(blobs={STORED.blob_key: [b"012", b"broken"]})
    recipient = _Recipient()
    with pytest.raises(Unavailable):
        world.send(recipient)
    assert world.usage == [UsageEvent(OWNER, "prefix", downloaded=3)]
    assert (world.closed, recipient.ended) == (1, 1)


def test_proxy_reads_the_blob_itself() -> None:
    """What a proxy sends is paid for in full; of the blob one byte is read, to see that
    it is there."""
    world, recipient = _World(), _Recipient(proxy=True)
    world.send(recipient)
    assert (world.opened, world.closed) == ([(STORED.blob_key, 0, 1)], 1)
    assert recipient.data == []
    assert world.written == [[(OWNER, 9)]]
    assert world.usage == [UsageEvent(OWNER, "prefix", downloaded=9)]


def test_proxy_is_told_of_no_lost_blob() -> None:
    """A proxy that can't find the blob would say that there is no such object."""
    world, recipient = _World(blobs={}), _Recipient(proxy=True)
    with pytest.raises(BlobLost):
        world.send(recipient)
    assert (recipient.begun, world.lost, world.usage) == ([], 1, [])


@implementer(IFileBlobReader)
@define
class _FileReader:
    """A reader of which the kernel has some bytes in memory.

    :ivar in_memory: what ``send`` returns, one after the other, then 0.
    :ivar calls: how many bytes were sent or read by which call.
    """

    left: int
    in_memory: list[int | None]
    calls: list[tuple[str, int]] = field(factory=list)
    closed: int = 0

    async def read(self) -> bytes:
        piece = b"x" * min(10, self.left)
        self.left -= len(piece)
        self.calls.append(("read", len(piece)))
        return piece

    def send(self, _socket: int, size: int) -> int | None:
        sent = self.in_memory.pop(0) if self.in_memory else 0
        if sent:
            assert sent <= size
            self.left -= sent
            self.calls.append(("send", sent))
        return sent

    async def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize(
    ("in_memory", "expected"),
    [
        ([40], [("read", 10), ("send", 40)]),
        ([15, None, None, 25], [("read", 10), ("send", 15), ("send", 25)]),
        ([15, 0, 15], [("read", 10), ("send", 15), ("read", 10), ("send", 15)]),
        ([], [("read", 10)] * 5),
    ],
)
def test_file_in_memory_is_sent_by_the_kernel(
    in_memory: list[int | None], expected: list[tuple[str, int]]
) -> None:
    """After the first piece the kernel sends what it has in memory; only what it has
    not is read. All of it is counted as it goes."""
    reader, recipient = _FileReader(50, in_memory), _Recipient()
    counted: list[int] = []
    _now(transfer(reader, 50, recipient, counted.append))
    assert reader.calls == expected
    assert counted == [size for _, size in expected]
    assert (reader.left, reader.closed) == (0, 1)


def test_recipient_that_takes_no_files() -> None:
    """Where the kernel can't send to the recipient all is read, one piece ahead."""
    reader, recipient = _FileReader(50, [40]), _Recipient(files=False)
    _now(transfer(reader, 50, recipient, lambda _: None))
    assert b"".join(recipient.data) == b"x" * 50
    assert reader.in_memory == [40]
