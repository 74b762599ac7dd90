"""The order of one object's blobs."""

from __future__ import annotations

from qabel_block.names import Versions
from qabel_block.rules.blob_order import blob_order

NOW = 1_800_000_000


def _ours(milliseconds: int) -> str:
    return f"p/a~{Versions(lambda: milliseconds / 1000).next()}"


def test_order() -> None:
    """A blob of ours is as old as its version, whatever its file's time; one of the
    legacy server is as old as its file, and at the same moment the older one."""
    first, second = _ours(NOW * 1000), _ours(NOW * 1000 + 1)
    in_order = [
        blob_order("p/a", NOW - 1),
        blob_order("p/a", NOW),
        blob_order(first, NOW + 1000),
        blob_order(second, 0.0),
        blob_order("p/a", NOW + 0.5),
    ]
    assert sorted(in_order) == in_order
    assert len(set(in_order)) == len(in_order)
