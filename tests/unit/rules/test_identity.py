"""Whether ledger and storage belong to each other."""

from __future__ import annotations

import pytest

from qabel_block.errors import WrongStorage
from qabel_block.model import Installation
from qabel_block.rules.identity import (
    BlobSample,
    agreed_identity,
    identity_to_rebuild,
    may_hold_copy,
)

MINE, OTHER = "mine", "other"
NEW, KNOWN = Installation(MINE, confirmed=False), Installation(MINE, confirmed=True)
NO_OBJECTS = BlobSample(0, 0)
ALL, HALF, FEW, NONE = (BlobSample(20, found) for found in (20, 10, 9, 0))


@pytest.mark.parametrize(
    ("ledger", "storage", "sample", "expected"),
    [
        # The same id, whatever else
        (KNOWN, MINE, NO_OBJECTS, MINE),
        (NEW, MINE, NO_OBJECTS, MINE),
        # A new installation, or one of which nothing can be lost
        (NEW, None, NO_OBJECTS, MINE),
        (KNOWN, None, NO_OBJECTS, MINE),
        # Written by a version that knew no ids
        (NEW, None, ALL, MINE),
        (NEW, None, HALF, MINE),
        # The file with the id was not restored with the blobs
        (KNOWN, None, HALF, MINE),
        # The ledger was restored from a backup of a version that knew no ids
        (NEW, OTHER, HALF, OTHER),
    ],
)
def test_agreed(
    ledger: Installation, storage: str | None, sample: BlobSample, expected: str
) -> None:
    """The id is the one that both have, or the one that only one of them can have."""
    assert agreed_identity(ledger, storage, sample) == expected


@pytest.mark.parametrize(
    ("ledger", "storage", "sample", "what_to_do"),
    [
        # A disk that is not mounted, an emptied bucket
        (KNOWN, None, NONE, "mount the right disk"),
        (KNOWN, None, FEW, "rebuild --force"),
        (NEW, None, NONE, "mount the right disk"),
        # The ledger was lost
        (NEW, OTHER, NO_OBJECTS, "qabel-block rebuild"),
        (KNOWN, OTHER, NO_OBJECTS, "qabel-block rebuild"),
        # Another installation's, even a copy of this one that went on by itself
        (KNOWN, OTHER, NONE, "correct the options"),
        (KNOWN, OTHER, ALL, "correct the options"),
        (NEW, OTHER, FEW, "correct the options"),
    ],
)
def test_refused(
    ledger: Installation, storage: str | None, sample: BlobSample, what_to_do: str
) -> None:
    """A storage that is not the ledger's is refused in one line that says what to
    do."""
    with pytest.raises(WrongStorage, match=what_to_do) as caught:
        agreed_identity(ledger, storage, sample)
    assert "\n" not in str(caught.value)
    assert caught.value.dependency == "storage"


@pytest.mark.parametrize(
    ("ledger", "storage", "sample", "expected"),
    [
        (NEW, None, NONE, MINE),
        (KNOWN, None, HALF, MINE),
        (KNOWN, MINE, NO_OBJECTS, MINE),
        (NEW, OTHER, NO_OBJECTS, OTHER),
        (NEW, OTHER, NONE, OTHER),
        (KNOWN, OTHER, NO_OBJECTS, OTHER),
        (KNOWN, OTHER, HALF, OTHER),
    ],
)
def test_rebuilt(
    ledger: Installation, storage: str | None, sample: BlobSample, expected: str
) -> None:
    """A ledger that is rebuilt takes over the storage's id."""
    assert identity_to_rebuild(ledger, storage, sample, force=False) == expected


@pytest.mark.parametrize(("storage", "expected"), [(None, MINE), (OTHER, OTHER)])
def test_rebuilt_from_another_storage(storage: str | None, expected: str) -> None:
    """A ledger whose objects are elsewhere is rebuilt only if the operator insists."""
    with pytest.raises(WrongStorage):
        identity_to_rebuild(KNOWN, storage, FEW, force=False)
    assert identity_to_rebuild(KNOWN, storage, FEW, force=True) == expected


NO_ID = Installation("", confirmed=False)


@pytest.mark.parametrize(
    ("ledger", "storage", "expected"),
    [
        # Empty, or a first copy that broke off
        (None, None, True),
        (None, MINE, True),
        # A copy
        (KNOWN, MINE, True),
        (KNOWN, None, True),
        (NEW, None, True),
        # Copied before the ledger took over the id of its storage
        (Installation(OTHER, confirmed=False), MINE, True),
        (NO_ID, MINE, True),
        # Somebody else's, or one of which nothing is known
        (None, OTHER, False),
        (KNOWN, OTHER, False),
        (NEW, OTHER, False),
        (Installation(OTHER, confirmed=True), MINE, False),
        (Installation(OTHER, confirmed=True), None, False),
        (Installation(OTHER, confirmed=False), None, False),
        (NO_ID, None, False),
    ],
)
def test_where_a_copy_is_kept(
    ledger: Installation | None, storage: str | None, expected: bool
) -> None:
    """A copy is kept where nothing can be lost that is not known to be of the same
    installation."""
    assert may_hold_copy(MINE, ledger, storage) is expected
