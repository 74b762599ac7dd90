"""Which file holds which blob: no blob is ever in another's way."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from qabel_block.names import parse_blob_key
from qabel_block.storage.local.layout import INCOMING, file_of, key_of

_segments = st.text("ab_-9", min_size=1, max_size=3)
_paths = st.lists(_segments, min_size=1, max_size=4).map("/".join)
_versions = st.sampled_from(
    ["", "~01ARZ3NDEKTSV4RRFFQ69G5FAV", "~01ARZ3NDEKTSV4RRFFQ69G5FAW"]
)
_keys = st.builds("{}/{}{}".format, st.sampled_from("pq"), _paths, _versions)


@given(_keys)
def test_key_and_back(key: str) -> None:
    """The key can be read from the names that lead to the file."""
    assert key_of(file_of(key)) == key


@given(_keys)
def test_below_the_prefix(key: str) -> None:
    """A blob is below its prefix, and no name leads anywhere else."""
    prefix, *names = file_of(key)
    assert key.startswith(f"{prefix}/")
    assert all(
        name not in ("", ".", "..", INCOMING) and "/" not in name for name in names
    )


@given(_keys, _keys)
def test_no_two_blobs_meet(one: str, other: str) -> None:
    """Two keys are two files, and unless both are the legacy server's, neither
    needs a folder where the other is."""
    assume(one != other)
    first, second = file_of(one), file_of(other)
    assert first != second
    if parse_blob_key(one)[1] or parse_blob_key(other)[1]:
        assert second[: len(first)] != first
        assert first[: len(second)] != second


@pytest.mark.parametrize(
    "names",
    [
        ("p",),
        ("p", "a", "b~01ARZ3NDEKTSV4RRFFQ69G5FAV"),
        ("p", "a~", "b"),
        ("p", "a~01ARZ3NDEKTSV4RRFFQ69G5FAV", "b~01ARZ3NDEKTSV4RRFFQ69G5FAV"),
        ("p", "a~~", "b~01ARZ3NDEKTSV4RRFFQ69G5FAV"),
        ("p", "a~"),
        ("p", "a.txt"),
        (INCOMING, "a"),
    ],
)
def test_what_is_no_blobs_file(names: tuple[str, ...]) -> None:
    """What holds no blob has no key."""
    with pytest.raises(ValueError, match="not a blob"):
        key_of(names)
