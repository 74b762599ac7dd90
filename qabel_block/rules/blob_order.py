"""Orders the blobs of one object by when they were written."""

from __future__ import annotations

from attrs import frozen

from qabel_block.names import milliseconds_of


@frozen
class DatedBlob:
    """A blob's key, and when storage says that it was last changed, in seconds since
    1970; 0 if that is not known."""

    key: str
    modified: float


def is_newer(one: DatedBlob, other: DatedBlob) -> bool:
    """Say whether a blob was written after another one of the same object.

    Ours are as old as their versions. One of the legacy server's is newer than one of
    ours if it was changed later: that server may have come back after ours, and written
    once more. Later than ours was changed, too, which in storage that was copied
    without its times is when it was copied.
    """
    version, other_version = milliseconds_of(one.key), milliseconds_of(other.key)
    if version and other_version:
        return one.key > other.key
    if version:
        return not is_newer(other, one)
    return one.modified > max(other_version / 1000, other.modified)
