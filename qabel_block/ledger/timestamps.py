"""Time stamps as the ledger writes them."""

from __future__ import annotations

from datetime import datetime, timezone


def timestamp(seconds: float) -> str:
    """Return a time in a form that sorts as text and that PostgreSQL casts.

    :param seconds: since 1970.
    """
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    return moment.isoformat(timespec="microseconds")
