"""Deletes all that a user has (PROTOCOL section 10)."""

from __future__ import annotations

from collections.abc import Callable

from qabel_block.ledger.accounts import AccountTable
from qabel_block.operations.prefix_erasure import ErasedObjects, PrefixErasure


class UserErasure:
    """Deletes a user whose access has been taken away, in steps.

    Each step may be the last: who begins again finds what is left.
    """

    def __init__(self, accounts: AccountTable, prefixes: PrefixErasure) -> None:
        self._accounts = accounts
        self._prefixes = prefixes

    async def erase(self, user_id: int, told: Callable[[int], object]) -> ErasedObjects:
        """Delete prefixes, objects, repositories and traffic; return how much it was.

        :param told: called after each batch with the number of objects deleted; the
            erasure ends with what it raises.
        :raises Unavailable: if the ledger or the storage fails.
        """
        objects = size = 0
        while (prefix := await self._accounts.prefix_of(user_id)) is not None:
            erased = await self._prefixes.erase(prefix, told)
            objects += erased.objects
            size += erased.size
        while keys := await self._accounts.garbage_of(user_id):
            await self._prefixes.delete_blobs(keys)
            told(0)
        await self._accounts.end_erasure(user_id)
        return ErasedObjects(objects, size)
