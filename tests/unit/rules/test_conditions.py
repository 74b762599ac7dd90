"""Conditions, in the order of RFC 9110 section 13.2.2."""

from __future__ import annotations

import pytest

from qabel_block.errors import PreconditionFailed
from qabel_block.rules.conditions import Conditions, if_range_holds, parse_http_date

ETAG = '"etag"'
MADE = 784111777  # of the examples in RFC 9110 section 5.6.7
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
BEFORE = "Sun, 06 Nov 1994 08:49:36 GMT"
LATER = "Sun, 06 Nov 1994 08:49:38 GMT"


@pytest.mark.parametrize(
    "form", [DATE, "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
)
def test_dates(form: str) -> None:
    """All three forms of a date are understood."""
    assert parse_http_date(form) == MADE


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", ETAG, "1994", f"{DATE}, {DATE}"),
        "Sun, 06 Nov 1994 08:49:37 +99999999999999999999",
        "Sun, 06 Nov 99999999999 08:49:37 GMT",
    ],
)
def test_no_dates(text: str) -> None:
    """What is no date is ignored, and no error."""
    assert parse_http_date(text) is None
    assert not Conditions.parse(None, None, text).check_read(ETAG, MADE)


@pytest.mark.parametrize(
    ("since", "unmodified"), [(BEFORE, False), (DATE, True), (LATER, True)]
)
def test_if_modified_since(since: str, unmodified: bool) -> None:
    """304 if the object was made no later; it means nothing for a change."""
    conditions = Conditions.parse(None, None, since)
    assert conditions.check_read(ETAG, MADE) == unmodified
    conditions.check_change(ETAG, MADE)


@pytest.mark.parametrize(
    ("since", "holds"), [(BEFORE, False), (DATE, True), (LATER, True)]
)
def test_if_unmodified_since(since: str, holds: bool) -> None:
    """412 if the object was made later, for reading and for a change."""
    conditions = Conditions.parse(None, None, None, since)
    if holds:
        assert not conditions.check_read(ETAG, MADE)
        conditions.check_change(ETAG, MADE)
        return
    with pytest.raises(PreconditionFailed):
        conditions.check_read(ETAG, MADE)
    with pytest.raises(PreconditionFailed):
        conditions.check_change(ETAG, MADE)


def test_etags_take_precedence() -> None:
    """Where there is a condition on the ETag, that on the date is not looked at."""
    assert Conditions.parse(None, ETAG, BEFORE).check_read(ETAG, MADE)
    assert not Conditions.parse(None, '"other"', LATER).check_read(ETAG, MADE)
    assert not Conditions.parse(ETAG, None, None, BEFORE).check_read(ETAG, MADE)


def test_no_modification_date() -> None:
    """Conditions on a date that nobody knows, or on no object, are ignored."""
    for conditions in (
        Conditions.parse(None, None, LATER),
        Conditions.parse(None, None, None, BEFORE),
    ):
        assert not conditions.check_read(ETAG)
        conditions.check_change(ETAG)
        conditions.check_change(None)


@pytest.mark.parametrize(
    ("header", "holds"),
    [
        (None, True),
        *((ETAG, True), ("etag", True), (f" {ETAG} ", True)),
        *((f"W/{ETAG}", False), ("W/etag", False), ('"other"', False), ("", False)),
        *((DATE, False), (BEFORE, False), (LATER, False)),
    ],
)
def test_if_range(header: str | None, holds: bool) -> None:
    """The strong comparison of ETags; a date may be that of two versions."""
    assert if_range_holds(header, ETAG) == holds
