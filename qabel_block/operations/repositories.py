"""Restic repositories: what can be done with them (PROTOCOL section 11)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from uuid import uuid4

from attrs import frozen

from qabel_block.errors import (
    AlreadyStored,
    ControlSizeNeeded,
    NotOwner,
    QuotaReached,
    RepositoryNotFound,
)
from qabel_block.interfaces import IBody
from qabel_block.ledger.ledger import Ledger
from qabel_block.ledger.repositories import RepositoryTable
from qabel_block.model import Account, ObjectName, Permission, WriteState
from qabel_block.names import is_control_file
from qabel_block.operations.objects import check_owner
from qabel_block.operations.upload import Renew, Upload, Uploads
from qabel_block.operations.usage import UsageEvent
from qabel_block.rules.conditions import UNCONDITIONAL
from qabel_block.rules.permissions import check_create, check_replace
from qabel_block.rules.quota import repository_allowance


@frozen
class RepositoryUpload(Upload):
    """An upload of a file to a repository: one that is there is never replaced."""

    def decide(self, state: WriteState, size: int) -> None:
        """Allow a body of this size as a new file.

        :raises NotOwner: if the prefix is not the user's.
        :raises AlreadyStored: if there is such a file.
        :raises ControlSizeNeeded: if that has to be known.
        :raises QuotaReached: if the body would not be within the quota.
        """
        check_owner(self.account, state.owner_id)
        if state.current is not None:
            raise AlreadyStored(state.current.etag, state.current.sha256)
        if size <= self.allowance(state):
            return
        if state.control is None and is_control_file(self.name.path):
            raise ControlSizeNeeded
        raise QuotaReached

    @property
    def claim_for(self) -> int | None:
        """Nobody gets the prefix of a repository that was deleted."""
        return None

    def allowance(self, state: WriteState) -> int:
        """Return the size in bytes of the largest body the quota allows."""
        return repository_allowance(
            self.name.path,
            quota=self.account.storage_quota,
            used=state.used,
            control=state.control,
        )


class Repositories:
    """Creates repositories; stores, lists and deletes what is in them.

    :param record_usage: told what was freed.
    """

    def __init__(
        self,
        table: RepositoryTable,
        ledger: Ledger,
        uploads: Uploads,
        record_usage: Callable[[UsageEvent], None],
    ) -> None:
        self._table = table
        self._ledger = ledger
        self._uploads = uploads
        self._record_usage = record_usage

    async def create(self, account: Account, name: str) -> None:
        """Give a user a repository of this name, unless there is one.

        :raises NotPermitted: to read-only tokens.
        """
        check_create(account.permission)
        if await self._table.prefix(account.user_id, name) is None:
            await self._table.create(account.user_id, name, str(uuid4()))

    async def file(self, account: Account, name: str, path: str) -> ObjectName:
        """Return which object a file of a user's repository is.

        :raises RepositoryNotFound: if there is no such repository.
        """
        prefix = await self._table.prefix(account.user_id, name)
        if prefix is None:
            raise RepositoryNotFound
        return ObjectName(prefix, path)

    async def files(
        self, account: Account, name: str, kind: str
    ) -> AsyncGenerator[list[tuple[str, int]], None]:
        """Return the path and the size in bytes of each file of one type, in order,
        page by page.

        :raises RepositoryNotFound: if there is no such repository.
        """
        prefix = await self._table.prefix(account.user_id, name)
        if prefix is None:
            raise RepositoryNotFound
        return self._table.files(prefix, kind)

    async def store(
        self,
        account: Account,
        name: str,
        path: str,
        length: int | None,
        digests: frozenset[str],
        body: IBody,
        renew: Renew,
    ) -> None:
        """Store a file, unless there is one that is the same.

        :param digests: hexadecimal SHA-256 digests that it must have.
        :raises NotPermitted: to read-only tokens.
        :raises RepositoryNotFound: if there is no such repository.
        :raises StoredDiffers: if there is a file of this name that is another.
        :raises Exception: what :meth:`Uploads.store` raises.
        """
        account.require_active()
        check_create(account.permission)
        file = await self.file(account, name, path)
        upload = RepositoryUpload(account, file, UNCONDITIONAL, length, digests)
        try:
            await self._uploads.store(upload, body, renew)
        except NotOwner:
            # Deleted since it was looked up.
            raise RepositoryNotFound from None

    async def delete(self, account: Account, name: str, path: str) -> None:
        """Delete a file; that it was not there is no error.

        :raises NotPermitted: to read-only tokens; to append-only ones too unless it
            is a lock, which does not last.
        """
        if account.permission is not Permission.APPEND_ONLY or not _is_lock(path):
            check_replace(account.permission)
        try:
            file = await self.file(account, name, path)
            change = await self._ledger.delete(file, _anything)
        except (RepositoryNotFound, NotOwner):
            return
        if change is not None:
            self._record_usage(
                UsageEvent(change.owner_id, file.prefix, freed=-change.grown)
            )


def _is_lock(path: str) -> bool:
    return path.startswith("locks/")


def _anything(_state: WriteState) -> None:
    """The repository is the user's own: it was looked up as such."""
