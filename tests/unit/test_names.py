"""Versions and blob keys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qabel_block.model import ObjectName
from qabel_block.names import (
    PREFIX_PATTERN,
    SEGMENT_PATTERN,
    Versions,
    blob_key,
    is_control_file,
    milliseconds_of,
    parse_blob_key,
    shown,
    time_of,
)

prefixes = st.from_regex(PREFIX_PATTERN, fullmatch=True)
segments = st.from_regex(SEGMENT_PATTERN, fullmatch=True)
names = st.builds(
    lambda prefix, path: ObjectName(prefix, "/".join(path)),
    prefixes,
    st.lists(segments, min_size=1, max_size=4),
)


@given(names, st.lists(st.integers(0, 2**48 - 1), min_size=1))
def test_key_and_back(name: ObjectName, times: list[int]) -> None:
    """Object and version can be read from a blob's key."""
    clock = iter(times)
    version = Versions(lambda: next(clock) / 1000).next()
    assert parse_blob_key(blob_key(name, version)) == (name, version)
    assert parse_blob_key(str(name)) == (name, None)


@given(st.lists(st.floats(0, 2**38), min_size=2, max_size=50), st.randoms())
def test_versions_never_go_back(times: list[float], random: object) -> None:
    """Versions are unique and in the order of their making, whatever the clock."""
    clock = iter(times)
    versions = Versions(lambda: next(clock), random.getrandbits)  # type: ignore[attr-defined]
    made = [versions.next() for _ in times]
    assert made == sorted(set(made))
    assert {len(version) for version in made} == {26}


def test_version_tells_its_time() -> None:
    """Its first ten characters are the milliseconds since 1970 (ULID)."""
    early = Versions(lambda: 1_469_918_176.385, lambda _bits: 0).next()
    assert early == "01ARYZ6S41" + "0" * 16
    assert time_of(early) == 1_469_918_176.385


@pytest.mark.parametrize(
    "key",
    [
        "",
        "p",
        "p/",
        "/a",
        "p/../a",
        "../p/a",
        "p/a/",
        "p//a",
        "p/a~",
        "p/a~x",
        "p/a~" + "0" * 25,
        "p/a~" + "U" * 26,
        "p/a\n",
        "p/a.b",
        "p~/a",
        "x" * 37 + "/a",
        "p/" + "x" * 201,
        "p/" + "/".join(["x" * 199] * 5),
        "p/a\0",
    ],
)
def test_no_other_key(key: str) -> None:
    """Nothing else is a key."""
    with pytest.raises(ValueError, match="not a blob key"):
        parse_blob_key(key)


@pytest.mark.parametrize(
    ("path", "control"),
    [
        ("locks/a", True),
        ("index/a", True),
        ("snapshots/a", True),
        ("data/a", False),
        ("keys/a", False),
        ("config", False),
    ],
)
def test_control_files(path: str, control: bool) -> None:
    """Control files are what locks, forgets and prunes."""
    assert is_control_file(path) is control


@given(st.integers(0, 2**47), st.integers(0, 2**47))
def test_later_than_what_it_replaces(now: int, before: int) -> None:
    """A version is later than the one it replaces, whatever the clock says, and two
    nodes that replace the same one make different versions."""
    key = blob_key(ObjectName("p", "a"), Versions(lambda: before / 1000).next())
    nodes = [Versions(lambda: now / 1000) for _ in range(2)]
    keys = {
        blob_key(ObjectName("p", "a"), node.next(after=milliseconds_of(key)))
        for node in nodes
    }
    assert len(keys) == 2
    if before:
        assert all(milliseconds_of(later) > milliseconds_of(key) for later in keys)


def test_time_of_a_legacy_blob() -> None:
    """A blob of the legacy server is earlier than all others."""
    assert milliseconds_of("p/a") == 0


def test_shown() -> None:
    """Names are shown as they are, but on one line, and no two alike."""
    assert shown("p/\u00e4 'b' \"c\"") == "p/\u00e4 'b' \"c\""
    odd = ["\n", "\\u000a", "\x80", "\udc80", "\\x80", "\u202e", "\ud800", "\U000e0001"]
    names = [shown(name) for name in odd]
    assert len(set(names)) == len(odd)
    assert all(name.isprintable() for name in names)
