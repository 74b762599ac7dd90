"""Timestamps of S3, as stores have been seen to write them."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from qabel_block.storage.s3.timestamps import parse

MOMENT = datetime(2026, 11, 28, 4, 19, 41, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-28T04:19:41.000Z",
        "2026-11-28T04:19:41Z",
        "2026-11-28T05:19:41+01:00",
        "2026-11-28T04:19:41",
        "Sat, 28 Nov 2026 04:19:41 GMT",
        "Saturday, 28-Nov-26 04:19:41 GMT",
        "Sat Nov 28 04:19:41 2026",
        MOMENT.timestamp(),
    ],
)
def test_forms(text: object) -> None:
    """All forms of HTTP and those of ISO 8601; without a time zone it is UTC."""
    assert parse(text) == MOMENT


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026-13-01T00:00:00Z",
        None,
        "1e400",
        "inf",
        "nan",
        "99999999999999999999",
    ],
)
def test_none(text: object) -> None:
    """What is no moment is none, and no error."""
    assert parse(text) is None
