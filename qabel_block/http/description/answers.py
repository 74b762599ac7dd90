"""What is answered, as OpenAPI 3.1 describes it."""

from __future__ import annotations

from qabel_block.http.description.schemas import Json, reference
from qabel_block.http.problems import PROBLEM_JSON, STATUS_LINES

CAUSES = {
    400: "The request is malformed or contradicts itself, or the body does not match"
    " its digest: nothing is stored.",
    402: "The storage quota does not allow the upload, or the owner's traffic of this"
    " month is used up.",
    403: "The header `Authorization` is missing, its token is unknown, the account is"
    " not active, or the prefix is not the user's.",
    404: "There is no such object, or no such resource.",
    405: "This can't be done to this resource; `Allow` says what can.",
    412: "`If-Match` or `If-None-Match` does not hold. `ETag` is that of the current"
    " object, if there is one.",
    413: "The body is larger than the server takes: nothing is stored.",
    416: "The range lies outside the object; `Content-Range` tells its size.",
    426: "Only WebSocket handshakes are answered here.",
    503: "Something that the server depends on is down or too slow.",
    507: "The storage is full: nothing is stored.",
}
"""When each status of :data:`STATUS_LINES` is answered."""

_HEADERS: Json = {
    "ETag": {
        "description": "Names this version of the object: a quoted strong validator,"
        " to be taken as opaque.",
        "schema": {"type": "string", "pattern": '^"[^"]+"$'},
    },
    "Date": {
        "description": "When the answer was made.",
        "required": True,
        "schema": {"type": "string"},
    },
    "Repr-Digest": {
        "description": "The object's SHA-256 (RFC 9530). It is missing while that is"
        " not known, after a move from an older server.",
        "schema": {
            "type": "string",
            "pattern": "^sha-256=:[A-Za-z0-9+/]{43}=:$",
        },
    },
    "Cache-Control": {
        "required": True,
        "schema": {"type": "string", "const": "no-cache"},
    },
    "Accept-Ranges": {
        "required": True,
        "schema": {"type": "string", "const": "bytes"},
    },
    "X-Content-Type-Options": {
        "required": True,
        "schema": {"type": "string", "const": "nosniff"},
    },
    "Content-Length": {
        "description": "Bytes of the body.",
        "required": True,
        "schema": {"type": "integer", "minimum": 0},
    },
    "Content-Range": {
        "required": True,
        "schema": {"type": "string", "pattern": "^bytes (\\d+-\\d+|\\*)/\\d+$"},
    },
    "Allow": {"required": True, "schema": {"type": "string"}},
    "Retry-After": {
        "description": "Seconds.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
    "Upgrade": {"schema": {"type": "string", "pattern": "^[Ww]eb[Ss]ocket$"}},
    "Sec-WebSocket-Version": {
        "required": True,
        "schema": {"type": "string", "const": "13"},
    },
    "Sec-WebSocket-Accept": {"required": True, "schema": {"type": "string"}},
    "Sec-WebSocket-Protocol": {
        "description": "Where the subprotocol was offered.",
        "schema": {"type": "string", "const": "v0.ws.block.qabel.de"},
    },
}

_HEADERS_OF = {
    405: ("Allow",),
    412: ("ETag",),
    416: ("Content-Range",),
    426: ("Upgrade", "Sec-WebSocket-Version"),
    503: ("Retry-After",),
}

BYTES: Json = {"application/octet-stream": {}}
_BARE = "Bare"


def headers(*required: str, optional: tuple[str, ...] = ()) -> Json:
    """Describe headers that an answer has always, and such that it may have."""
    return {
        **{name: {**_HEADERS[name], "required": True} for name in required},
        **{name: {**_HEADERS[name], "required": False} for name in optional},
    }


def json_answer(description: str, schema: str) -> Json:
    """Describe an answer in JSON."""
    content = {"application/json": {"schema": reference(schema)}}
    return {"description": description, "content": content}


def refusals(*statuses: int, bare: bool = False) -> Json:
    """Return references to refusals by status.

    Those that any request may get are always among them.

    :param bare: for methods whose answers never have a body.
    """
    return {
        str(status): {"$ref": f"#/components/responses/{_name(status, bare)}"}
        for status in sorted({400, 405, 503, *statuses})
    }


def _name(status: int, bare: bool) -> str:
    return f"{_BARE if bare else ''}{status}"


def _refusal(status: int, bare: bool) -> Json:
    reasons = {reason: None for code, reason in STATUS_LINES.values() if code == status}
    described: Json = {
        "description": f"{' / '.join(reasons)}. {CAUSES[status]}",
        # An ETag is there only if an object is.
        "headers": {
            name: {**_HEADERS[name], "required": name != "ETag"}
            for name in _HEADERS_OF.get(status, ())
        },
    }
    if not bare:
        described["content"] = {PROBLEM_JSON: {"schema": reference("Problem")}}
    return described


RESPONSES: Json = {
    _name(status, bare): _refusal(status, bare)
    for status in CAUSES
    for bare in (False, True)
}
"""The document's ``components/responses``."""
