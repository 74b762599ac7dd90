"""Orders the blobs of one object by when they were written."""

from __future__ import annotations

from qabel_block.names import milliseconds_of


def blob_order(key: str, modified: float) -> tuple[float, bool, str]:
    """Return what sorts the blobs of one object, the newest last.

    The time of ours is that of their version, and those of one time sort by it. The
    legacy server's is the time of its last change: that server may have come back
    after ours, and written once more.

    :param modified: seconds since 1970, as storage says; that of ours does not matter.
    """
    begun = milliseconds_of(key)
    return (begun / 1000, True, key) if begun else (modified, False, key)
