"""Uploads: from the first look at the head to the commit.

An upload is refused as early as it can be known, by a look at the ledger; but
what counts is the same decision made once more inside the transaction that
commits it, where nothing can change between check and change.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from hashlib import sha256

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from qabel_block.errors import (
    BlockError,
    BodyTooLarge,
    NotOwner,
    QuotaReached,
    StorageFull,
    Unavailable,
)
from qabel_block.interfaces import IBlobWriter, IBody, IStorageBackend
from qabel_block.ledger.ledger import Ledger
from qabel_block.model import Account, ChangeEvent, ObjectName, PendingBlob, WriteState
from qabel_block.names import Versions, blob_key, modified_of
from qabel_block.operations.objects import check_owner
from qabel_block.operations.usage import TransferRecorder, UsageEvent
from qabel_block.rules.conditions import Conditions
from qabel_block.rules.digests import check_digest
from qabel_block.rules.quota import storage_allowance
from qabel_block.util.keyed_lock import KeyedLock
from qabel_block.util.threads import ThreadPool

log = Logger()

_HASHED_IN_PLACE = 32 * 1024
"""Bytes whose SHA-256 takes less time than handing them to a thread."""


@frozen
class Upload:
    """What the head of a request says about an upload.

    :ivar length: bytes of the body, ``None`` if that is not known beforehand.
    :ivar digests: hexadecimal SHA-256 digests that the body must have.
    """

    account: Account
    name: ObjectName
    conditions: Conditions
    length: int | None
    digests: frozenset[str]

    def decide(self, state: WriteState, size: int) -> None:
        """Allow a body of this size as the next version of the object.

        Quota comes before the conditions, as RFC 9110 section 13.2.1 has it:
        a condition is only looked at where the answer would be a success.

        :raises NotOwner: if the prefix is not the user's.
        :raises QuotaReached: if the body would not be within the quota.
        :raises PreconditionFailed: if a condition does not hold.
        """
        check_owner(self.account, state.owner_id)
        if size > self.allowance(state):
            raise QuotaReached
        self.conditions.check_change(state.etag, modified_of(state.blob_key))

    def allowance(self, state: WriteState) -> int:
        """Return the size in bytes of the largest body the quota allows."""
        return storage_allowance(
            self.name.path,
            quota=self.account.storage_quota,
            used=state.used,
            old_size=state.size,
        )


@frozen
class _Received:
    size: int
    sha256: str


class Uploads:
    """Takes uploads.

    :param locks: keep events about one object in the order of its changes.
    :param threads: where large pieces are hashed.
    :param max_body_size: bytes.
    :param publish: tells other devices of a change that is durable.
    :param record_usage: told what was stored and freed.
    :param record: entered for the time of each upload; learns from the error how
        it ended.
    """

    def __init__(
        self,
        ledger: Ledger,
        storage: IStorageBackend,
        versions: Versions,
        locks: KeyedLock,
        threads: ThreadPool,
        max_body_size: int,
        publish: Callable[[ChangeEvent], None],
        record_usage: Callable[[UsageEvent], None],
        record: TransferRecorder = nullcontext,
    ) -> None:
        self._ledger = ledger
        self._storage = storage
        self._versions = versions
        self._locks = locks
        self._threads = threads
        self._max_body_size = max_body_size
        self._publish = publish
        self._record_usage = record_usage
        self._record = record

    async def store(self, upload: Upload, body: IBody) -> str:
        """Store a body as the next version of an object; return its ETag.

        When this returns, the version is durable and is what everybody reads
        until the next change. If it raises, nothing has changed, except that
        after ``Unavailable`` the change may have been made.

        :raises UserDisabled: if the account is not active.
        :raises NotOwner: if the prefix is not the user's.
        :raises BodyTooLarge: if the body is larger than this server takes.
        :raises QuotaReached: if it would not be within the quota.
        :raises PreconditionFailed: if a condition does not hold.
        :raises BadRequest: if the body does not have the digest it should.
        :raises ClientGone: if the body is cut off.
        :raises StorageFull: if there is no room for the body.
        :raises Unavailable: if the ledger or storage fails.
        """
        with self._record():
            return await self._store(upload, body)

    async def _store(self, upload: Upload, body: IBody) -> str:
        upload.account.require_active()
        state = await self._target(upload)
        check_owner(upload.account, state.owner_id)
        if upload.length is not None and upload.length > self._max_body_size:
            raise BodyTooLarge
        upload.decide(state, upload.length or 0)
        version = self._versions.next()
        key = blob_key(upload.name, version)
        writer = await self._storage.create(key)
        try:
            received = await self._receive(upload, state, body, writer)
            check_digest(upload.digests, received.sha256)
            noted = await self._ledger.note_blob(key)
            await writer.finish()
        except BaseException:
            await writer.abort()
            raise
        blob = PendingBlob(key, received.size, f'"{version}"', received.sha256, noted)
        async with self._locks.hold(upload.name):
            await self._commit(upload, blob)
        return blob.etag

    async def _target(self, upload: Upload) -> WriteState:
        state = await self._ledger.state(upload.name)
        if state is None:
            if not upload.account.any_prefix:
                raise NotOwner
            return WriteState(
                upload.account.user_id,
                await self._ledger.storage_used(upload.account.user_id),
                None,
            )
        return state

    async def _receive(
        self, upload: Upload, state: WriteState, body: IBody, writer: IBlobWriter
    ) -> _Received:
        size = 0
        digest = sha256()
        while data := await body.read():
            size += len(data)
            if size > self._max_body_size:
                raise BodyTooLarge
            if size > upload.allowance(state):
                # Somebody may have made room since the last look.
                state = await self._target(upload)
                upload.decide(state, size)
            hashed = self._hash(digest.update, data)
            await writer.write(data)
            await hashed
        return _Received(size, digest.hexdigest())

    def _hash(self, update: Callable[[bytes], None], data: bytes) -> Deferred[None]:
        if len(data) > _HASHED_IN_PLACE:
            return Deferred.fromCoroutine(self._threads.run(update, data))
        update(data)
        done: Deferred[None] = Deferred()
        done.callback(None)
        return done

    async def _commit(self, upload: Upload, blob: PendingBlob) -> None:
        try:
            change = await self._ledger.commit_upload(
                upload.name,
                blob,
                lambda state: upload.decide(state, blob.size),
                upload.account.user_id if upload.account.any_prefix else None,
            )
        except Unavailable:
            # It may have been committed: the collector asks before it deletes.
            raise
        except BlockError:
            await self._forget(blob.blob_key)
            raise
        self._publish(ChangeEvent(upload.name, blob.etag))
        self._record_usage(
            UsageEvent(
                change.owner_id,
                upload.name.prefix,
                stored=max(change.grown, 0),
                freed=max(-change.grown, 0),
            )
        )

    async def _forget(self, key: str) -> None:
        """Remove the blob of a refused upload now rather than an hour later."""
        try:
            await self._storage.delete([key])
            await self._ledger.forget_garbage([key])
        except (Unavailable, StorageFull) as error:
            log.info("left to the collector: {key}: {error}", key=key, error=error)
