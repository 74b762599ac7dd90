"""What can be done here: one method for each thing a client may ask for.

Whoever calls has read the request; whoever is called knows nothing of HTTP.
"""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

from qabel_block.errors import NotOwner
from qabel_block.ledger.ledger import Ledger
from qabel_block.model import Account, ChangeEvent, ObjectName, WriteState
from qabel_block.operations.usage import UsageEvent
from qabel_block.rules.conditions import Conditions
from qabel_block.rules.permissions import check_create, check_replace
from qabel_block.rules.quota import garbage_excess
from qabel_block.util.budget import until_spent
from qabel_block.util.keyed_lock import KeyedLock


def check_owner(account: Account, owner_id: int) -> None:
    """Allow changes below a prefix only to whom it belongs.

    :raises NotOwner: if it is somebody else's.
    """
    if owner_id != account.user_id and not account.any_prefix:
        raise NotOwner


class Operations:
    """All operations but uploads and downloads, which have modules of their own.

    :param locks: keep events about one object in the order of its changes.
    :param publish: tells other devices of a change that is durable.
    :param record_usage: told what was freed.
    :param collect_owner: told whose garbage is too much, and by how many bytes.
    """

    def __init__(
        self,
        ledger: Ledger,
        locks: KeyedLock,
        publish: Callable[[ChangeEvent], None],
        record_usage: Callable[[UsageEvent], None],
        collect_owner: Callable[[int, int], None],
    ) -> None:
        self._collect_owner = collect_owner
        self._ledger = ledger
        self._locks = locks
        self._publish = publish
        self._record_usage = record_usage

    async def storage_used(self, account: Account) -> int:
        """Return the bytes that a user stores: the sum of all objects."""
        return await self._ledger.storage_used(account.user_id)

    async def prefixes(self, account: Account) -> list[str]:
        """Return a user's prefixes, oldest first."""
        return await self._ledger.prefixes(account.user_id)

    async def create_prefix(self, account: Account) -> str:
        """Give a user a new prefix and return its name, a UUID4.

        :raises UserDisabled: if the account is not active.
        :raises NotPermitted: to read-only tokens.
        """
        account.require_active()
        check_create(account.permission)
        name = str(uuid4())
        await self._ledger.create_prefix(account.user_id, name)
        return name

    async def check_prefix(self, account: Account, prefix: str) -> None:
        """Make sure that a prefix is the user's own.

        :raises NotOwner: if it is not, or does not exist.
        """
        state = await self._ledger.write_state(ObjectName(prefix, ""))
        if state is None:
            if not account.any_prefix:
                raise NotOwner
        else:
            check_owner(account, state.owner_id)

    async def delete(
        self, account: Account, name: ObjectName, conditions: Conditions
    ) -> None:
        """Delete an object, if it is there and the conditions hold.

        :raises NotPermitted: to all tokens but full ones, whatever is there.
        :raises NotOwner: if the prefix is not the user's.
        :raises PreconditionFailed: if a condition does not hold.
        """
        check_replace(account.permission)

        def decide(state: WriteState) -> None:
            check_owner(account, state.owner_id)
            conditions.check_change(state.etag, state.modified)

        try:
            # Whatever the outcome is, and whenever it is known: others are told of it.
            await until_spent(self._delete(account, name, decide))
        except NotOwner:
            if not account.any_prefix:
                raise
            # The prefix would be taken over by writing below it; nothing is
            # there yet.
            conditions.check_change(None)

    async def _delete(
        self, account: Account, name: ObjectName, decide: Callable[[WriteState], None]
    ) -> None:
        async with self._locks.hold(name):
            change = await self._ledger.delete(name, decide)
            if change is None:
                return
            self._publish(ChangeEvent(name, None))
        self._record_usage(
            UsageEvent(change.owner_id, name.prefix, freed=-change.grown)
        )
        excess = garbage_excess(quota=account.storage_quota, garbage=change.garbage)
        if excess:
            self._collect_owner(change.owner_id, excess)
