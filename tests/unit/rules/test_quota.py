"""The quota rules as pure functions."""

from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qabel_block.rules.quota import (
    METADATA_GROWTH,
    REPOSITORY_RESERVE,
    garbage_excess,
    is_block,
    month_of,
    repository_allowance,
    storage_allowance,
    traffic_exhausted,
)

sizes = st.integers(0, 2**50)


@pytest.mark.parametrize(
    ("path", "block"),
    [
        ("blocks/a", True),
        ("block/a", True),
        ("blocks", True),
        ("a/blocks", False),
        ("blocksx", False),
        ("Blocks/a", False),
    ],
)
def test_first_segment_makes_a_block(path: str, block: bool) -> None:
    """A block is what has `blocks` or `block` as its first segment."""
    assert is_block(path) is block


@given(sizes, sizes, sizes)
def test_block_allowance(quota: int, rest: int, old: int) -> None:
    """A block may be as large as keeps the sum within the quota."""
    used = rest + old
    allowance = storage_allowance("blocks/a", quota=quota, used=used, old_size=old)
    assert used - old + allowance == quota


@given(sizes, sizes, sizes)
def test_metadata_allowance(quota: int, rest: int, old: int) -> None:
    """A metadata file may be so large, or grow by one byte less than 150 KiB."""
    used = rest + old
    allowance = storage_allowance("index", quota=quota, used=used, old_size=old)
    assert allowance == max(quota - rest, old + METADATA_GROWTH - 1)


@given(sizes, sizes)
def test_new_metadata_is_like_a_block(quota: int, used: int) -> None:
    """A metadata file that is new has no room beyond the quota."""
    for path in ("index", "blocks/a"):
        assert (
            storage_allowance(path, quota=quota, used=used, old_size=None)
            == quota - used
        )


def test_traffic_is_exhausted_when_greater() -> None:
    """Traffic equal to the quota is not yet too much."""
    assert not traffic_exhausted(quota=10, used=10)
    assert traffic_exhausted(quota=10, used=11)


@given(st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1)))
def test_month(moment: datetime) -> None:
    """A month begins on its first day in UTC."""
    moment = moment.replace(tzinfo=timezone.utc)
    month = month_of(moment.timestamp())
    assert month == f"{moment.year:04}-{moment.month:02}-01"


@given(sizes, sizes, sizes)
def test_repository_allowance(quota: int, used: int, control: int) -> None:
    """A control file fits into the quota, or with those that are there into 64 MiB
    and 5 % of what the user stores; any other file fits into the quota."""
    size = repository_allowance("index/a", quota=quota, used=used, control=control)
    beyond = control + size > REPOSITORY_RESERVE + used // 20
    assert used + size == quota or (used + size > quota and not beyond)
    for path in ("data/a", "keys/a", "config"):
        allowance = repository_allowance(path, quota=quota, used=used, control=control)
        assert used + allowance == quota


@given(sizes, sizes)
def test_unknown_control_size(quota: int, used: int) -> None:
    """As long as the size of control files is not known, only the quota counts."""
    allowance = repository_allowance("index/a", quota=quota, used=used, control=None)
    assert used + allowance == quota


@given(st.integers(0, 2**40), st.integers(0, 2**40), st.integers(0, 2**40))
def test_garbage_is_bounded(quota: int, garbage: int, more: int) -> None:
    """Once the excess is gone, what is there and what comes is no more than the quota,
    or 1 GiB, unless a single blob is larger."""
    excess = garbage_excess(quota=quota, garbage=garbage, more=more)
    limit = max(quota, 1024**3)
    assert 0 <= excess <= garbage
    left = garbage - excess
    assert left + more <= limit or left == 0
    assert bool(excess) == (garbage > 0 and garbage + more > limit)
