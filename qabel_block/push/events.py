"""What subscribers are told: one JSON object for each change."""

from __future__ import annotations

import json

from attrs import frozen

from qabel_block.model import ObjectName


@frozen
class ChangeEvent:
    """A change that is durable.

    :ivar etag: the new version's, ``None`` if the object was deleted.
    """

    name: ObjectName
    etag: str | None

    def message(self) -> str:
        """Return the event as it is sent. Its path includes the prefix."""
        event = {
            "operation": "DELETE" if self.etag is None else "POST",
            "prefix": self.name.prefix,
            "path": str(self.name),
        }
        if self.etag is not None:
            event["etag"] = self.etag
        return json.dumps(event)


def path_of(message: str) -> str:
    """Return the path, prefix included, of which a message tells."""
    path: str = json.loads(message)["path"]
    return path
