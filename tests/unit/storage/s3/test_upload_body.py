"""A body is sent in pieces, within a time limit."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from qabel_block.storage.s3.upload_body import (
    LEAST_RATE,
    LEAST_SECONDS,
    TooSlow,
    UploadBody,
)


@given(st.binary(max_size=50), st.lists(st.integers(1, 20)), st.integers(0, 60))
def test_like_a_file(data: bytes, sizes: list[int], place: int) -> None:
    """It reads, tells and seeks as a file does."""
    parcel, file = UploadBody(data, lambda: 0.0), io.BytesIO(data)
    assert len(parcel) == len(data)
    for size in sizes:
        assert parcel.read(size) == file.read(size)
        assert parcel.tell() == file.tell()
    assert parcel.seek(0, io.SEEK_END) == len(data)
    assert parcel.seek(place) == min(place, len(data))
    assert parcel.read() == data[place:]


@pytest.mark.parametrize("size", [0, 1, 5 * 2**20, 500 * 2**20 // 50])
def test_time_limit(size: int) -> None:
    """All attempts together have the time that a very slow store needs once."""
    clock = Clock()
    parcel = UploadBody(bytes(size), clock.seconds)
    clock.advance(max(LEAST_SECONDS, size / LEAST_RATE))
    parcel.read(1)
    parcel.seek(0)
    clock.advance(0.001)
    with pytest.raises(TooSlow):
        parcel.read(1)
