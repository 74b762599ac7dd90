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


def path_of(message: str) -> str:
    """Return the path, prefix included, of which a message tells."""
    path: str = json.loads(message)["path"]
    return path
