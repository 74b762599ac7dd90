"""Uploads: from the first look at the head to the commit.

An upload is refused as early as it can be known, by a look at the ledger; but
what counts is the same decision made once more inside the transaction that
commits it, where nothing can change between check and change.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import evolve, frozen
from twisted.logger import Logger

from qabel_block.errors import (
    AlreadyStored,
    BlockError,
    BodyTooLarge,
    ControlSizeNeeded,
    GarbageFull,
    NotOwner,
    QuotaReached,
    StorageFull,
    StoredDiffers,
    Unavailable,
)
from qabel_block.interfaces import IBlobWriter, IBody, IStorageBackend
from qabel_block.ledger.ledger import Ledger
from qabel_block.model import (
    Account,
    Change,
    ChangeEvent,
    ObjectName,
    PendingBlob,
    WriteState,
)
from qabel_block.names import Versions, blob_key
from qabel_block.operations.collector import Collector
from qabel_block.operations.hashed_body import HashedBody
from qabel_block.operations.objects import check_owner
from qabel_block.operations.usage import UNRECORDED, TransferRecorder, UsageEvent
from qabel_block.rules.conditions import Conditions
from qabel_block.rules.digests import check_digest
from qabel_block.rules.permissions import check_create, check_replace
from qabel_block.rules.quota import garbage_excess, storage_allowance
from qabel_block.util.budget import spending, transferring, until_spent
from qabel_block.util.keyed_lock import KeyedLock
from qabel_block.util.threads import ThreadPool

log = Logger()

Renew = Callable[[], Awaitable[Account]]
"""Returns the account of an upload as it is now: a token may be revoked, and a quota
changed, while a body is received. It raises ``UnknownUser`` if there is none."""

COLLECT_ATTEMPTS = 60
"""How often an upload makes room, or waits for a moment because others do: for as long
as a request may wait."""


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

    def check_account(self) -> None:
        """Allow uploads to active accounts, with tokens that may store.

        :raises UserDisabled: if the account is not active.
        :raises NotPermitted: if the token may not do this.
        """
        self.account.require_active()
        check_create(self.account.permission)

    def decide(self, state: WriteState, size: int) -> None:
        """Allow a body of this size as the next version of the object.

        Permission and quota come before the conditions, as RFC 9110 section 13.2.1
        has it: a condition is only looked at where the answer would be a success.
        A blob of the legacy server that may be adopted yet counts as an object.

        :raises NotOwner: if the prefix is not the user's.
        :raises NotPermitted: if the token may not replace the object that is there.
        :raises QuotaReached: if the body would not be within the quota.
        :raises PreconditionFailed: if a condition does not hold.
        """
        check_owner(self.account, state.owner_id)
        if state.current is not None or state.adopting:
            check_replace(self.account.permission)
        if size > self.allowance(state):
            raise QuotaReached
        self.conditions.check_change(state.etag, state.modified)

    @property
    def claim_for(self) -> int | None:
        """The user who gets the prefix if it does not exist."""
        return self.account.user_id if self.account.any_prefix else None

    def check_garbage(self, state: WriteState) -> None:
        """Allow what is there to become garbage.

        :raises GarbageFull: if the owner has too much of that.
        """
        excess = garbage_excess(
            quota=self.account.storage_quota,
            garbage=state.garbage,
            more=state.size or 0,
        )
        if excess:
            raise GarbageFull(state.owner_id, excess)

    def allowance(self, state: WriteState) -> int:
        """Return the size in bytes of the largest body the quota allows."""
        return storage_allowance(
            self.name.path,
            quota=self.account.storage_quota,
            used=state.used,
            old_size=state.size,
        )


class Uploads:
    """Takes uploads.

    :param collector: makes room where an owner's garbage takes too much.
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
        collector: Collector,
        versions: Versions,
        locks: KeyedLock,
        threads: ThreadPool,
        max_body_size: int,
        publish: Callable[[ChangeEvent], None],
        record_usage: Callable[[UsageEvent], None],
        record: TransferRecorder = UNRECORDED,
    ) -> None:
        self._ledger = ledger
        self._storage = storage
        self._collector = collector
        self._versions = versions
        self._locks = locks
        self._threads = threads
        self._max_body_size = max_body_size
        self._publish = publish
        self._record_usage = record_usage
        self._record = record

    async def store(self, upload: Upload, body: IBody, renew: Renew) -> str:
        """Store a body as the next version of an object; return its ETag.

        When this returns, the version is durable and is what everybody reads
        until the next change. If it raises, nothing has changed, except that
        after ``Unavailable`` the change may have been made. If the object is not to
        be replaced and has these bytes already, nothing changes either, and it is
        its ETag that is returned.

        :raises UserDisabled: if the account is not active.
        :raises UnknownUser: if it is gone when the body has been received.
        :raises NotPermitted: if the token may not do this.
        :raises NotOwner: if the prefix is not the user's.
        :raises BodyTooLarge: if the body is larger than this server takes.
        :raises QuotaReached: if it would not be within the quota.
        :raises PreconditionFailed: if a condition does not hold.
        :raises StoredDiffers: if the object is not to be replaced and has other bytes.
        :raises BadRequest: if the body does not have the digest it should.
        :raises ClientGone: if the body is cut off.
        :raises StorageFull: if there is no room for the body.
        :raises Unavailable: if the ledger or storage fails.
        """
        with self._record:
            return await self._confirm(upload, body, renew)

    async def _confirm(self, upload: Upload, body: IBody, renew: Renew) -> str:
        """Store a body, or see that it is what is there and is not to be replaced."""
        upload.check_account()
        hashed = HashedBody(body, self._threads, self._max_body_size)
        try:
            return await self._store(upload, hashed, renew)
        except AlreadyStored as stored:
            sha256 = await hashed.sha256()
            check_digest(upload.digests, sha256)
            if sha256 != stored.sha256:
                raise StoredDiffers from None
            return stored.etag

    async def _store(self, upload: Upload, body: HashedBody, renew: Renew) -> str:
        state = await self._write_state(upload)
        check_owner(upload.account, state.owner_id)
        if upload.length is not None and upload.length > self._max_body_size:
            raise BodyTooLarge
        state = await self._decide(upload, state, upload.length or 0)
        version = self._versions.next(after=state.latest)
        key = blob_key(upload.name, version)
        writer = await self._storage.create(key)
        try:
            with transferring():
                await self._receive(upload, state, body, writer)
            sha256 = await body.sha256()
            check_digest(upload.digests, sha256)
            upload = evolve(upload, account=await renew())
            upload.check_account()
            await self._ledger.note_blob(key)
            with transferring():
                await writer.finish()
        except BaseException:
            await writer.abort()
            raise
        blob = PendingBlob(key, body.size, f'"{version}"', sha256)
        # Whatever the outcome is, and whenever it is known: others are told of it.
        await until_spent(self._commit(upload, blob))
        return blob.etag

    async def _write_state(self, upload: Upload) -> WriteState:
        state = await self._ledger.write_state(upload.name)
        if state is None:
            if upload.claim_for is None:
                raise NotOwner
            used = await self._ledger.storage_used(upload.claim_for)
            return WriteState(upload.claim_for, used, None)
        return state

    async def _decide(self, upload: Upload, state: WriteState, size: int) -> WriteState:
        """Allow a body of this size; return all that was needed to decide that."""
        try:
            upload.decide(state, size)
        except ControlSizeNeeded:
            control = await self._ledger.control_size(upload.name.prefix)
            state = evolve(state, control=control)
            upload.decide(state, size)
        return state

    async def _receive(
        self, upload: Upload, state: WriteState, body: HashedBody, writer: IBlobWriter
    ) -> None:
        while data := await body.read():
            if body.size > upload.allowance(state):
                # Somebody may have made room since the last look.
                state = await self._write_state(upload)
                state = await self._decide(upload, state, body.size)
            await writer.write(data)

    async def _commit(self, upload: Upload, blob: PendingBlob) -> None:
        async with self._locks.hold(upload.name):
            try:
                change = await self._commit_within_garbage_limit(upload, blob)
            except Unavailable:
                # It may have been committed: the collector asks before it deletes.
                raise
            except BlockError:
                await self._forget(blob.blob_key)
                raise
            if change.outdated is not None:
                await self._forget(change.outdated)
            self._publish(ChangeEvent(upload.name, blob.etag))
        self._record_usage(
            UsageEvent(
                change.owner_id,
                upload.name.prefix,
                stored=max(change.grown, 0),
                freed=max(-change.grown, 0),
            )
        )

    async def _commit_within_garbage_limit(
        self, upload: Upload, blob: PendingBlob
    ) -> Change:
        """Commit once the owner's garbage leaves room for what this replaces.

        :raises StorageFull: if it does not get less.
        """

        def decide(state: WriteState) -> None:
            upload.decide(state, blob.size)
            upload.check_garbage(state)

        for _ in range(COLLECT_ATTEMPTS):
            try:
                return await self._ledger.commit_upload(
                    upload.name, blob, decide, upload.claim_for
                )
            except GarbageFull as full:
                await self._collector.collect_owner(full.owner_id, full.excess)
        raise StorageFull("what the owner has replaced is still being deleted")

    async def _forget(self, key: str) -> None:
        """Remove a blob now rather than an hour later: of an upload that was refused,
        or of one with a later version that this one has replaced."""
        try:
            with spending(None):
                if not await self._storage.delete([key]):
                    await self._ledger.forget_garbage([key])
        except (Unavailable, StorageFull) as error:
            log.info("left to the collector: {key}: {error}", key=key, error=error)
