"""Deletes all that a user has (PROTOCOL section 10)."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from qabel_block.interfaces import IBlobListing, IStorageBackend
from qabel_block.ledger.accounts import AccountTable
from qabel_block.ledger.erasure import Erasure
from qabel_block.ledger.ledger import Ledger


@frozen
class ErasedUser:
    """What was deleted.

    :ivar size: bytes of the objects.
    """

    objects: int = 0
    size: int = 0


class UserErasure:
    """Deletes a user whose access has been taken away, in steps.

    The blobs go at once, not after the grace period. Each step may be the last: who
    begins again finds in the ledger and in storage what is left.
    """

    def __init__(
        self,
        accounts: AccountTable,
        erasure: Erasure,
        ledger: Ledger,
        storage: IStorageBackend,
        listing: IBlobListing,
    ) -> None:
        self._accounts = accounts
        self._erasure = erasure
        self._ledger = ledger
        self._storage = storage
        self._listing = listing

    async def erase(self, user_id: int, told: Callable[[int], object]) -> ErasedUser:
        """Delete prefixes, objects, repositories and traffic; return how much it was.

        :param told: called after each batch with the number of objects deleted; the
            erasure ends with what it raises.
        :raises Unavailable: if the ledger or the storage fails.
        """
        objects = size = 0
        while (prefix := await self._accounts.prefix_of(user_id)) is not None:
            while (erased := await self._erasure.erase_some(prefix)).keys:
                await self._delete(erased.keys)
                objects += len(erased.keys)
                size += erased.size
                told(len(erased.keys))
            await self._sweep(prefix)
            await self._erasure.drop(prefix)
            told(0)
        while keys := await self._accounts.garbage_of(user_id):
            await self._delete(keys)
            told(0)
        await self._accounts.end_erasure(user_id)
        return ErasedUser(objects, size)

    async def _sweep(self, prefix: str) -> None:
        """Delete what storage has below a prefix without objects: what was replaced
        or deleted, what broken uploads left, and what was never adopted."""
        async for page in self._listing.blobs(prefix):
            if page.blobs:
                await self._delete([blob.key for blob in page.blobs])

    async def _delete(self, keys: list[str]) -> None:
        """Delete blobs as the collector does: their notes go last."""
        await self._storage.delete(keys)
        await self._ledger.forget_garbage(keys)
