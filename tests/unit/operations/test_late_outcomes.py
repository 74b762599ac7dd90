"""Changes whose outcome is known only after the request has given up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from qabel_block.errors import BlobCollected, PreconditionFailed, Unavailable
from qabel_block.model import Account, Change, ChangeEvent, ObjectName, WriteState
from qabel_block.names import Versions
from qabel_block.operations.objects import Operations
from qabel_block.operations.upload import Upload, Uploads
from qabel_block.operations.usage import UsageEvent
from qabel_block.rules.conditions import UNCONDITIONAL
from qabel_block.util.budget import REQUEST_SECONDS, Budget, spending, time_left
from qabel_block.util.keyed_lock import LIMIT, KeyedLock

ACCOUNT = Account(7, True, 100, 100)
NAME = ObjectName("prefix", "path")


class Ledger:
    """Makes each change when it is told to."""

    def __init__(self) -> None:
        self.changes: list[Deferred[Change]] = []

    async def write_state(self, name: ObjectName) -> WriteState:
        return WriteState(ACCOUNT.user_id, 0, None)

    async def note_blob(self, key: str) -> None:
        pass

    async def commit_upload(self, *_arguments: object) -> Change:
        return await self._change()

    async def delete(self, *_arguments: object) -> Change:
        return await self._change()

    async def forget_garbage(self, keys: list[str]) -> None:
        pass

    async def _change(self) -> Change:
        change: Deferred[Change] = Deferred()
        self.changes.append(change)
        return await change


class Storage:
    """Takes blobs.

    :ivar deletions: for each the seconds that it may take, of a hundred.
    """

    def __init__(self) -> None:
        self.deletions: list[float] = []

    async def create(self, key: str) -> Storage:
        return self

    async def write(self, data: bytes) -> None:
        pass

    async def finish(self) -> None:
        pass

    async def delete(self, keys: list[str]) -> dict[str, str]:
        self.deletions.append(time_left(100))
        return {}


class EmptyBody:
    async def read(self) -> bytes:
        return b""


@define
class Server:
    """The operations, and what others were told of changes."""

    clock: Clock = field(factory=Clock)
    ledger: Ledger = field(factory=Ledger)
    storage: Storage = field(factory=Storage)
    events: list[ChangeEvent] = field(factory=list)
    usage: list[UsageEvent] = field(factory=list)
    uploads: Uploads = field(init=False)
    operations: Operations = field(init=False)

    def __attrs_post_init__(self) -> None:
        locks = KeyedLock(self.clock)
        self.uploads = Uploads(
            cast(Any, self.ledger),
            cast(Any, self.storage),
            collector=cast(Any, None),
            versions=Versions(self.clock.seconds),
            locks=locks,
            threads=cast(Any, None),
            max_body_size=100,
            publish=self.events.append,
            record_usage=self.usage.append,
        )
        self.operations = Operations(
            cast(Any, self.ledger),
            locks,
            self.events.append,
            self.usage.append,
            lambda _owner, _size: None,
        )

    def upload(self) -> list[object]:
        async def renew() -> Account:
            return ACCOUNT

        head = Upload(ACCOUNT, NAME, UNCONDITIONAL, 0, frozenset())
        body = cast(Any, EmptyBody())
        return self.request(lambda: self.uploads.store(head, body, renew))

    def delete(self) -> list[object]:
        return self.request(
            lambda: self.operations.delete(ACCOUNT, NAME, UNCONDITIONAL)
        )

    def request(self, operation: Callable[[], Awaitable[object]]) -> list[object]:
        """Begin a request; return where its answer, or the error's type, will be."""

        async def answer() -> None:
            try:
                answers.append(await operation())
            except Exception as error:
                answers.append(type(error))

        answers: list[object] = []
        with spending(Budget(self.clock)):
            Deferred.fromCoroutine(answer())
        return answers


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.mark.parametrize("change", [Server.upload, Server.delete])
def test_change(server: Server, change: Callable[[Server], list[object]]) -> None:
    """The request ends in time; others are told of the change once it is made, and
    changes to the object that come later come later."""
    answers = change(server)
    server.clock.advance(REQUEST_SECONDS)
    assert answers == [Unavailable]
    next_answers = server.upload()
    assert (len(server.ledger.changes), server.events) == (1, [])
    server.ledger.changes[0].callback(Change(ACCOUNT.user_id, -5))
    assert [event.name for event in server.events] == [NAME]
    assert server.usage == [UsageEvent(ACCOUNT.user_id, NAME.prefix, freed=5)]
    server.ledger.changes[1].callback(Change(ACCOUNT.user_id, 5))
    assert next_answers == [server.events[1].etag]


@pytest.mark.parametrize("refusal", [PreconditionFailed(None), BlobCollected("key")])
def test_refusal(server: Server, refusal: Exception) -> None:
    """The blob of an upload that is refused late is forgotten at once, too."""
    server.upload()
    server.clock.advance(REQUEST_SECONDS)
    server.ledger.changes[0].errback(refusal)
    assert server.storage.deletions == [100]
    assert (server.events, server.usage) == ([], [])


def test_change_without_outcome(server: Server) -> None:
    """Changes to an object wait in vain for one that does not end."""
    server.upload()
    answers = server.delete()
    server.clock.advance(LIMIT)
    assert answers == [Unavailable]
    assert len(server.ledger.changes) == 1
