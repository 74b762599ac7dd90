"""The order of one object's blobs."""

from __future__ import annotations

from itertools import combinations

import pytest

from qabel_block.names import Versions
from qabel_block.rules.blob_order import DatedBlob, is_newer

NOW = 1_800_000_000


def _ours(milliseconds: int) -> str:
    return f"p/a~{Versions(lambda: milliseconds / 1000).next()}"


def test_order() -> None:
    """A blob of ours is as old as its version, whatever its file's time; one of the
    legacy server is as old as its file, and at the same moment the older one."""
    first, second = _ours(NOW * 1000), _ours(NOW * 1000 + 1)
    in_order = [
        DatedBlob("p/a", NOW - 1),
        DatedBlob("p/a", NOW),
        DatedBlob(first, NOW + 0.25),
        DatedBlob(second, 0.0),
        DatedBlob("p/a", NOW + 0.5),
    ]
    for older, newer in combinations(in_order, 2):
        assert is_newer(newer, older)
        assert not is_newer(older, newer)


@pytest.mark.parametrize("copied", [NOW, NOW + 10])
def test_times_that_were_lost(copied: int) -> None:
    """A legacy blob is not newer for having been copied, if ours was as well."""
    legacy, ours = DatedBlob("p/a", copied), DatedBlob(_ours(NOW * 1000), copied)
    assert is_newer(ours, legacy)
    assert not is_newer(legacy, ours)
