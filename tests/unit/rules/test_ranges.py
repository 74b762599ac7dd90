"""Byte ranges against a plain reading of RFC 9110 section 14."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qabel_block.errors import RangeNotSatisfiable
from qabel_block.rules.ranges import ByteRange, select_range

sizes = st.integers(1, 50)
offsets = st.integers(0, 60)


@given(sizes, offsets, offsets)
def test_first_and_last(size: int, first: int, last: int) -> None:
    """`first-last` selects what a slice of the bytes selects."""
    body = bytes(range(size))
    header = f"bytes={first}-{last}"
    if last < first:
        assert select_range(header, size) is None
    elif first >= size:
        with pytest.raises(RangeNotSatisfiable):
            select_range(header, size)
    else:
        selected = select_range(header, size)
        assert selected is not None
        end = selected.start + selected.length
        assert body[selected.start : end] == body[first : last + 1]


@given(sizes, st.integers(1, 60))
def test_suffix(size: int, length: int) -> None:
    """`-length` selects the last bytes, all of them if there are not so many."""
    body = bytes(range(size))
    selected = select_range(f"bytes=-{length}", size)
    assert selected is not None
    assert body[selected.start :] == body[-length:]
    assert selected.start + selected.length == size


@given(st.text(), st.integers(0, 10))
def test_no_header_is_an_error(header: str, size: int) -> None:
    """Whatever a client sends is a range, not satisfiable, or ignored."""
    try:
        selected = select_range(f"bytes={header}", size)
    except RangeNotSatisfiable:
        return
    assert selected is None or 0 < selected.length <= size


def test_content_range() -> None:
    """Content-Range names the first and the last byte and the size."""
    assert ByteRange(2, 3, 10).content_range == "bytes 2-4/10"


def test_absurdly_long_numbers() -> None:
    """Numbers of thousands of digits are far out, and cheap."""
    selected = select_range("bytes=0-" + "9" * 10_000, 10)
    assert selected == ByteRange(0, 10, 10)
    with pytest.raises(RangeNotSatisfiable):
        select_range("bytes=" + "9" * 10_000 + "-", 10)
