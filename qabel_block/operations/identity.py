"""Compares the ledger's identity with the storage's, and gives both one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from twisted.logger import Logger

from qabel_block.interfaces import IStorageBackend
from qabel_block.ledger.installation import InstallationRecord
from qabel_block.model import Installation
from qabel_block.rules.identity import (
    BlobSample,
    agreed_identity,
    identity_to_rebuild,
)

log = Logger()

CountBlobs = Callable[[Sequence[str]], Awaitable[int]]
"""Returns how many of some blobs a storage holds."""


class IdentityCheck:
    """Makes sure that ledger and storage belong to each other.

    :param count_blobs: looks for blobs in the storage.
    """

    def __init__(
        self,
        record: InstallationRecord,
        storage: IStorageBackend,
        count_blobs: CountBlobs,
    ) -> None:
        self._record = record
        self._storage = storage
        self._count_blobs = count_blobs

    async def compare(self) -> str:
        """Return the id that the two have or may have, and write nothing into the
        storage.

        :raises WrongStorage: if they don't belong to each other.
        :raises Unavailable: if one of them can't be asked.
        """
        return agreed_identity(*await self._read_identities())

    async def bind(self) -> None:
        """Compare the two, and bind the storage to the id that they have.

        :raises WrongStorage: if they don't belong to each other.
        :raises Unavailable: if one of them can't be asked.
        """
        await self.bind_to(await self.compare())

    async def compare_to_rebuild(self, force: bool) -> str:
        """Return the id for a ledger that is rebuilt from the storage.

        :param force: whether the operator insists on this storage.
        :raises WrongStorage: if the ledger's objects are in another one.
        :raises Unavailable: if one of them can't be asked.
        """
        return identity_to_rebuild(*await self._read_identities(), force)

    async def bind_to(self, installation: str) -> None:
        """Give both an id, which the storage must not contradict.

        :raises WrongStorage: if the storage has another.
        :raises Unavailable: if one of them can't be asked.
        """
        await self._storage.bind(installation)
        ledger = await self._record.read()
        # Last, since whoever finds it confirmed takes the storage's word for it.
        if not ledger.confirmed or ledger.id != installation:
            await self._record.confirm(installation)
            log.info("installation {id}", id=installation)

    async def _read_identities(self) -> tuple[Installation, str | None, BlobSample]:
        """Return what the ledger has, what the storage has, and what else tells
        whether they belong to each other."""
        ledger = await self._record.read()
        storage = await self._storage.identity()
        if storage == ledger.id:
            return ledger, storage, BlobSample(0, 0)
        keys = await self._record.blob_sample()
        found = await self._count_blobs(keys) if keys else 0
        return ledger, storage, BlobSample(len(keys), found)
