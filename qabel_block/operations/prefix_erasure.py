"""Deletes a prefix with all that is below it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import frozen

from qabel_block.errors import Unavailable
from qabel_block.interfaces import IBlobListing, IStorageBackend
from qabel_block.ledger.erasure import Erasure
from qabel_block.ledger.ledger import Ledger


@frozen
class ErasedObjects:
    """What was deleted.

    :ivar size: bytes of the objects.
    """

    objects: int = 0
    size: int = 0


class PrefixErasure:
    """Deletes prefixes in steps.

    The blobs go at once, not after the grace period. Each step may be the last: who
    begins again finds in the ledger and in storage what is left.
    """

    def __init__(
        self,
        erasure: Erasure,
        ledger: Ledger,
        storage: IStorageBackend,
        listing: IBlobListing,
    ) -> None:
        self._erasure = erasure
        self._ledger = ledger
        self._storage = storage
        self._listing = listing

    async def erase(self, prefix: str, told: Callable[[int], object]) -> ErasedObjects:
        """Delete a prefix, and the repository whose it is; return how much it was.

        :param told: called after each batch with the number of objects deleted; the
            erasure ends with what it raises.
        :raises Unavailable: if the ledger or the storage fails.
        """
        objects = size = 0
        gone = False
        while not gone:
            while (erased := await self._erasure.erase_some(prefix)).keys:
                await self.delete_blobs(erased.keys)
                objects += len(erased.keys)
                size += erased.size
                told(len(erased.keys))
            await self._sweep(prefix)
            gone = await self._erasure.drop(prefix)
            told(0)
        return ErasedObjects(objects, size)

    async def _sweep(self, prefix: str) -> None:
        """Delete what storage has below a prefix without objects: what was replaced
        or deleted, what broken uploads left, and what was never adopted."""
        async for page in self._listing.blobs(prefix):
            if page.blobs:
                await self.delete_blobs([blob.key for blob in page.blobs])

    async def delete_blobs(self, keys: Sequence[str]) -> None:
        """Delete blobs as the collector does: their notes go last.

        :raises Unavailable: if one can't be deleted; all others are.
        """
        failed = await self._storage.delete(keys)
        deleted = [key for key in keys if key not in failed]
        if deleted:
            await self._ledger.forget_garbage(deleted)
        for key, reason in failed.items():
            raise Unavailable("storage", f"{key} can't be deleted: {reason}")
