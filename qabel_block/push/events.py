"""What subscribers are told: one JSON object for each change (PROTOCOL section 4)."""

from __future__ import annotations

import json

from qabel_block.model import ChangeEvent


def format_event(event: ChangeEvent) -> str:
    """Return an event as it is sent. Its path includes the prefix."""
    fields = {
        "operation": "DELETE" if event.etag is None else "POST",
        "prefix": event.name.prefix,
        "path": str(event.name),
    }
    if event.etag is not None:
        fields["etag"] = event.etag
    return json.dumps(fields)


def read_path(prefix: str, message: str) -> str:
    """Return the path, without its prefix, of which a message tells.

    :raises ValueError: if it is no event of this prefix.
    """
    try:
        path = json.loads(message)["path"]
    except (ValueError, TypeError, LookupError, RecursionError):
        raise ValueError("it is no event") from None
    if not isinstance(path, str) or not path.startswith(f"{prefix}/"):
        raise ValueError("it is of another prefix")
    return path.removeprefix(f"{prefix}/")
