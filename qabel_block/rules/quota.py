"""The quotas of PROTOCOL sections 3 and 11, as pure functions."""

from __future__ import annotations

from datetime import datetime, timezone
from functools import lru_cache

from qabel_block.names import is_control_file

METADATA_GROWTH = 153_600
"""Bytes; over quota, an existing metadata file may grow by less than this."""

REPOSITORY_RESERVE = 64 * 1024 * 1024
"""Bytes that the control files of a full repository may have at least."""

GARBAGE_LEAST = 1024**3
"""Bytes of garbage that any owner may have, however small the quota."""

_BLOCK_SEGMENTS = frozenset({"blocks", "block"})


def is_block(path: str) -> bool:
    """Tell blocks from metadata files, by the first segment of the path."""
    return path.partition("/")[0] in _BLOCK_SEGMENTS


def storage_allowance(path: str, *, quota: int, used: int, old_size: int | None) -> int:
    """Return the size in bytes of the largest body that may be stored.

    Negative if not even an empty body may.

    :param quota: bytes granted to the owner.
    :param used: bytes the owner stores now.
    :param old_size: bytes of the object that is replaced, or ``None`` if there
        is none.
    """
    within_quota = quota - used + (old_size or 0)
    if old_size is None or is_block(path):
        return within_quota
    return max(within_quota, old_size + METADATA_GROWTH - 1)


def repository_allowance(
    path: str, *, quota: int, used: int, control: int | None
) -> int:
    """Return the size in bytes of the largest new file a restic repository may get
    (PROTOCOL section 11).

    Control files are also taken while those of the repository stay together within
    64 MiB and 5 % of what the user stores, so that a repository that is full can be
    pruned.

    :param path: of the file, below the repository's prefix.
    :param quota: bytes granted to the owner.
    :param used: bytes the owner stores now.
    :param control: bytes of the repository's control files, ``None`` if that is not
        known: then only the quota counts.
    """
    within_quota = quota - used
    if control is None or not is_control_file(path):
        return within_quota
    return max(within_quota, REPOSITORY_RESERVE + used // 20 - control)


def garbage_excess(*, quota: int, garbage: int, more: int = 0) -> int:
    """Return how many bytes of an owner's garbage must go, 0 if none.

    Garbage stays in storage for a while, but may not fill it: up to as much as the
    owner may store. A single blob may be larger than that.

    :param quota: bytes granted to the owner.
    :param garbage: bytes of the owner's garbage now.
    :param more: bytes that are about to become garbage.
    """
    limit = max(quota, GARBAGE_LEAST)
    excess = garbage + more - limit
    # Some more, so that not every upload has to wait from now on.
    return min(garbage, excess + limit // 16) if excess > 0 else 0


def traffic_exhausted(*, quota: int, used: int) -> bool:
    """Say whether a month's traffic, both in bytes, forbids further downloads."""
    return used > quota


def month_of(timestamp: float) -> str:
    """Return the first day of the calendar month in UTC, as ``YYYY-MM-01``.

    :param timestamp: seconds since 1970.
    """
    # Asked for with every download, and the same for all of an hour.
    return _month_of_hour(int(timestamp // 3600))


@lru_cache(maxsize=16)
def _month_of_hour(hours: int) -> str:
    moment = datetime.fromtimestamp(hours * 3600, timezone.utc)
    return moment.strftime("%Y-%m-01")
