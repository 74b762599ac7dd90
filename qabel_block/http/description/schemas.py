"""The values that requests and answers carry, as JSON schemas (OpenAPI 3.1)."""

from __future__ import annotations

from typing import Any

from qabel_block.names import PATH_LIMIT, PATH_PATTERN, PREFIX_PATTERN

Json = dict[str, Any]

_PREFIX: Json = {"type": "string", "pattern": f"^{PREFIX_PATTERN}$"}
_PATH: Json = {
    "type": "string",
    "pattern": f"^{PATH_PATTERN}$",
    "maxLength": PATH_LIMIT,
}
_BYTES: Json = {"type": "integer", "format": "int64"}


def _object(required: Json, optional: Json | None = None) -> Json:
    properties = {**required, **(optional or {})}
    return {"type": "object", "required": list(required), "properties": properties}


SCHEMAS: Json = {
    "Prefix": _object({"prefix": {"type": "string", "format": "uuid"}}),
    "Prefixes": _object({"prefixes": {"type": "array", "items": _PREFIX}}),
    "Quota": _object(
        {
            "quota": {**_BYTES, "description": "Bytes granted."},
            "size": {
                **_BYTES,
                "minimum": 0,
                "description": "Bytes used: the sum of the sizes of all objects.",
            },
        }
    ),
    "Alive": _object({"alive": {"const": True}}),
    "Ready": {
        **_object(
            {"ready": {"const": True}},
            {
                "degraded": {
                    "type": "object",
                    "propertyNames": {"enum": ["cache", "push", "accounts"]},
                    "additionalProperties": {"type": "string"},
                    "description": "What was observed of what does not work but is"
                    " needed by no upload or download of a known user, by its name.",
                }
            },
        ),
    },
    "NotReady": {
        **_object({"ready": {"const": False}}),
        "additionalProperties": {
            "type": "string",
            "description": "What was observed, by the name of what is missing.",
        },
    },
    "Problem": _object(
        {
            "title": {
                "type": "string",
                "description": "The reason, as in the status line.",
            },
            "status": {"type": "integer"},
        },
        {"detail": {"type": "string"}},
    ),
    "Event": {
        **_object(
            {
                "operation": {"enum": ["POST", "DELETE"]},
                "prefix": _PREFIX,
                "path": {
                    "type": "string",
                    "description": "The object's path, its prefix included.",
                },
            },
            {
                "etag": {
                    "type": "string",
                    "description": "Of the new version; not with DELETE.",
                }
            },
        ),
        "description": "One text message of a WebSocket: a change that is durable.",
    },
}
"""The document's ``components/schemas``."""


def reference(name: str) -> Json:
    """Return a reference to one of :data:`SCHEMAS`."""
    assert name in SCHEMAS
    return {"$ref": f"#/components/schemas/{name}"}


def _header(
    name: str, description: str, *examples: str, required: bool = False
) -> Json:
    described: Json = {
        "name": name,
        "in": "header",
        "required": required,
        "description": description,
        "schema": {"type": "string"},
    }
    if examples:
        numbered = enumerate(examples, 1)
        described["examples"] = {str(n): {"value": example} for n, example in numbered}
    return described


PARAMETERS: Json = {
    "prefix": {
        "name": "prefix",
        "in": "path",
        "required": True,
        "description": "A namespace for objects, owned by one user.",
        "schema": _PREFIX,
        "example": "3f1c7f0e-4f1e-4c55-8d1a-5a4d3b2c1f00",
    },
    "path": {
        "name": "path",
        "in": "path",
        "required": True,
        "description": (
            "One or more segments joined by single slashes, which are sent as they"
            " are: `%2F` is 404. A first segment `blocks` or `block` makes the"
            " object a block, anything else a metadata file."
        ),
        "schema": _PATH,
        "example": "blocks/5c3e0b1a",
    },
    "X-Request-ID": _header(
        "X-Request-ID",
        "Identifies the request in logs. Up to 128 printable characters without"
        " spaces are taken over and answered; otherwise one is made.",
    ),
    "If-Match": _header(
        "If-Match",
        "Go on only if the object's ETag is one of these; also taken without its"
        " quotes.",
    ),
    "If-None-Match": _header(
        "If-None-Match",
        "To read: answer 304 if the object's ETag is one of these. To change: go on"
        " only if it is not; `*` creates only.",
        '"01JAB3F0Z5M2N8Q4R6T7V9WXYZ"',
        "*",
    ),
    "Range": _header(
        "Range",
        "A single range of bytes. Several ranges, other units and what is malformed"
        " are answered with the whole object.",
        "bytes=0-3",
        "bytes=-4",
        "bytes=0-3,5-6",
    ),
    "If-Range": _header("If-Range", "Heed `Range` only if this is the object's ETag."),
    "Content-Digest": _header(
        "Content-Digest",
        "Refuse the body unless it has this digest (RFC 9530); only sha-256 is"
        " looked at.",
    ),
    "Repr-Digest": _header(
        "Repr-Digest", "The same as `Content-Digest`: bodies have no coding here."
    ),
    "Upgrade": _header(
        "Upgrade", "With `Connection: Upgrade`.", "websocket", required=True
    ),
    "Sec-WebSocket-Version": _header(
        "Sec-WebSocket-Version", "The only one.", "13", required=True
    ),
    "Sec-WebSocket-Key": _header(
        "Sec-WebSocket-Key",
        "See RFC 6455 section 4.1.",
        "dGhlIHNhbXBsZSBub25jZQ==",
        required=True,
    ),
    "Sec-WebSocket-Protocol": _header(
        "Sec-WebSocket-Protocol",
        "The subprotocols offered. Without this header the socket is accepted;"
        " with it, this one must be among them.",
        "v0.ws.block.qabel.de",
    ),
}
"""The document's ``components/parameters``. What is malformed is mostly ignored, as
RFC 9110 asks, so few of these have a pattern."""


def parameters(*names: str) -> list[Json]:
    """Return references to some of :data:`PARAMETERS`."""
    assert PARAMETERS.keys() >= set(names)
    return [{"$ref": f"#/components/parameters/{name}"} for name in names]
