"""Timestamps in the answers of S3."""

from __future__ import annotations

from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

from botocore.utils import parse_timestamp


def parse(text: Any) -> datetime | None:
    """Return the moment that a store tells, ``None`` if that is none: most answers
    have one that nobody looks at.

    The forms that S3 has come first, ISO 8601 in listings and that of HTTP in heads:
    botocore tries all there are, which takes longer than to read what is around them.
    """
    for known in (datetime.fromisoformat, parsedate_to_datetime, parse_timestamp):
        try:
            moment: datetime = known(text)
        except (
            ArithmeticError,
            AttributeError,
            OSError,
            RuntimeError,
            TypeError,
            ValueError,
        ):
            continue
        return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    return None
