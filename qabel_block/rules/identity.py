"""Whether a ledger and a storage belong to each other."""

from __future__ import annotations

from attrs import frozen

from qabel_block.errors import WrongStorage
from qabel_block.model import Installation

REBUILD = "qabel-block rebuild"

NEW_LEDGER = (
    "it belongs to an installation that the ledger knows nothing of; correct the"
    f" options, or, if the ledger was lost, restore it and run: {REBUILD}"
)
FOREIGN = (
    "it belongs to another installation than the ledger; correct the options that name"
    " the two"
)
NOT_FOUND = (
    "it has no identity, and {found} of {sample} blobs that the ledger names; mount the"
    " right disk or correct the options, or, if the blobs are lost for good, run:"
    f" {REBUILD} --force"
)


@frozen
class BlobSample:
    """What became of a look for some blobs that the ledger names.

    :ivar size: how many were looked for; 0 if the ledger has no objects.
    :ivar found: how many of them the storage holds.
    """

    size: int
    found: int

    @property
    def agrees(self) -> bool:
        """Whether the storage is the ledger's, as far as blobs can tell.

        Not all need be there, since some may have been collected meanwhile or be
        lost. Uploads to a wrong disk may have left some there.
        """
        return self.size > 0 and self.found * 2 >= self.size


def agreed_identity(
    ledger: Installation, storage: str | None, sample: BlobSample
) -> str:
    """Return the id that the ledger and the storage both have, or will have.

    :param storage: the id that the storage has, if it has any.
    :raises WrongStorage: if the two don't belong to each other.
    """
    if storage == ledger.id:
        return storage
    if storage is not None and ledger.confirmed:
        raise WrongStorage(FOREIGN if sample.size else NEW_LEDGER)
    if sample.size == 0:
        # Nothing can be lost yet. What an older version stored is adopted.
        if storage is not None:
            raise WrongStorage(NEW_LEDGER)
        return ledger.id
    if not sample.agrees:
        raise WrongStorage(_not_found(sample) if storage is None else FOREIGN)
    # An older version has written both, or the ledger is from a backup of that time.
    return storage or ledger.id


def identity_to_rebuild(
    ledger: Installation, storage: str | None, sample: BlobSample, force: bool
) -> str:
    """Return the id for a ledger that is rebuilt from a storage with known prefixes.

    The storage keeps its id: it has the blobs, and other nodes may use it.

    :param force: whether the operator insists on this storage.
    :raises WrongStorage: if the ledger's objects are known to be elsewhere.
    """
    if storage == ledger.id:
        return storage
    if ledger.confirmed and sample.size and not sample.agrees and not force:
        raise WrongStorage(_not_found(sample) if storage is None else FOREIGN)
    return storage or ledger.id


def may_hold_copy(
    installation: str, ledger: Installation | None, storage: str | None
) -> bool:
    """Return whether a directory may be where an installation's copy is kept.

    :param ledger: what the ledger there says, with an empty id if it knows none;
        ``None`` if there is no ledger, and so nothing that could be lost.
    :param storage: the id that the blobs there have, if they have any.
    """
    if storage is not None:
        # An id that was not confirmed when it was copied may have been given up since.
        same = ledger is None or ledger.id == installation or not ledger.confirmed
        return storage == installation and same
    return ledger is None or ledger.id == installation


def _not_found(sample: BlobSample) -> str:
    return NOT_FOUND.format(found=sample.found or "none", sample=sample.size)
