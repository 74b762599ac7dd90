"""The resources and what can be done to them, as OpenAPI 3.1 describes it."""

from __future__ import annotations

from qabel_block.http.description.answers import (
    BYTES,
    headers,
    json_answer,
    refusals,
)
from qabel_block.http.description.schemas import Json, parameters

_AUTHORIZED: Json = {"security": [{"token": []}]}
_OF_AN_OBJECT = ("ETag", "Cache-Control", "Accept-Ranges")
_OF_A_BODY = ("Content-Length", "X-Content-Type-Options")
_HANDSHAKE = (
    "Upgrade",
    "Sec-WebSocket-Version",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Protocol",
)


def _resource(summary: str, names: tuple[str, ...], **operations: Json) -> Json:
    return {
        "summary": summary,
        "parameters": parameters(*names, "X-Request-ID"),
        **operations,
    }


def _read(answer: str, content: Json) -> Json:
    return {
        "description": answer,
        "headers": headers(*_OF_AN_OBJECT, *_OF_A_BODY, optional=("Repr-Digest",)),
        "content": content,
    }


_NOT_MODIFIED: Json = {
    "description": "The client has this version already.",
    "headers": headers(*_OF_AN_OBJECT),
}

_PART: Json = _read("A part of the object.", BYTES)
_PART["headers"] = {**_PART["headers"], **headers("Content-Range")}

_GET_FILE: Json = {
    "operationId": "download",
    "summary": "Read an object",
    "description": (
        "Knowing the prefix is all it takes. The bytes count as traffic of the"
        " prefix's owner; 304, HEAD and errors cost nothing."
    ),
    "security": [],
    "parameters": parameters("If-None-Match", "If-Match", "Range", "If-Range"),
    "responses": {
        "200": _read("The object.", BYTES),
        "206": _PART,
        "304": _NOT_MODIFIED,
        **refusals(402, 404, 412, 416),
    },
}

_HEAD_FILE: Json = {
    "operationId": "inspect",
    "summary": "The head of what GET would answer",
    "security": [],
    "parameters": parameters("If-None-Match", "If-Match"),
    "responses": {
        "200": _read("The object is there.", {}),
        "304": _NOT_MODIFIED,
        **refusals(402, 404, 412, bare=True),
    },
}


def _upload(operation: str) -> Json:
    return {
        "operationId": operation,
        "summary": "Store the body as the object's next version",
        "description": (
            "PUT and POST are the same. The body is taken as bytes; `Content-Type` is"
            " ignored. It may be chunked. A refusal that the head of the request"
            " decides is answered before the body is read, and instead of"
            " `100 Continue`. A part of an object (`Content-Range`) is refused with"
            " 400. After 204 the bytes are durable, and every later GET on any node"
            " answers them. The check of a condition and the change are one step: of"
            " several writers that hold the same ETag exactly one gets 204."
        ),
        **_AUTHORIZED,
        "parameters": parameters(
            "If-Match", "If-None-Match", "Content-Digest", "Repr-Digest"
        ),
        "requestBody": {"required": False, "content": BYTES},
        "responses": {
            "204": {"description": "Stored.", "headers": headers("ETag", "Date")},
            **refusals(402, 403, 404, 412, 413, 507),
        },
    }


_DELETE_FILE: Json = {
    "operationId": "delete",
    "summary": "Delete an object",
    "description": (
        "That nothing was there is no error. The answer never has a body, and the"
        " space is free at once."
    ),
    **_AUTHORIZED,
    "parameters": parameters("If-Match", "If-None-Match"),
    "responses": {
        "204": {"description": "Deleted."},
        **refusals(403, 404, 412, bare=True),
    },
}


def _socket(operation: str, what: str, *statuses: int, **more: object) -> Json:
    return {
        "operationId": operation,
        "summary": f"Hear of changes of {what} (WebSocket, RFC 6455)",
        "description": (
            "A handshake. Afterwards the server sends one JSON object (schema `Event`)"
            " in a text message for each change that is durable, on whatever node it"
            " was made; what the client sends is ignored. A socket that may have"
            " missed events is closed with code 1013: connect again and look."
        ),
        **more,
        "parameters": parameters(*_HANDSHAKE),
        "responses": {
            "101": {
                "description": "The connection is a WebSocket from now on.",
                "headers": headers(
                    "Upgrade",
                    "Sec-WebSocket-Accept",
                    optional=("Sec-WebSocket-Protocol",),
                ),
            },
            **refusals(404, 426, *statuses),
        },
    }


PATHS: Json = {
    "/api/v0/prefix": _resource(
        "Prefixes of the user",
        (),
        get={
            "operationId": "listPrefixes",
            "summary": "List the user's prefixes, oldest first",
            **_AUTHORIZED,
            "responses": {
                "200": json_answer("The prefixes.", "Prefixes"),
                **refusals(403),
            },
        },
        post={
            "operationId": "createPrefix",
            "summary": "Make a new prefix",
            **_AUTHORIZED,
            "responses": {
                "201": json_answer("The new prefix, a UUID4.", "Prefix"),
                **refusals(403),
            },
        },
    ),
    "/api/v0/quota": _resource(
        "Storage of the user",
        (),
        get={
            "operationId": "quota",
            "summary": "How many bytes the user may store, and does",
            **_AUTHORIZED,
            "responses": {"200": json_answer("The quota.", "Quota"), **refusals(403)},
        },
    ),
    "/api/v0/files/{prefix}/{path}": _resource(
        "An object",
        ("prefix", "path"),
        get=_GET_FILE,
        head=_HEAD_FILE,
        post=_upload("upload"),
        put=_upload("replace"),
        delete=_DELETE_FILE,
    ),
    "/api/v0/websocket/{prefix}": _resource(
        "Changes below a prefix",
        ("prefix",),
        get=_socket(
            "listenToPrefix",
            "all objects below a prefix of the user's own, but for paths that contain"
            " `blocks`",
            403,
            **_AUTHORIZED,
        ),
    ),
    "/api/v0/websocket/{prefix}/{path}": _resource(
        "Changes of one object",
        ("prefix", "path"),
        get=_socket(
            "listenToObject",
            "one object; a path that contains `blocks` is refused with 405",
            security=[],
        ),
    ),
    "/api/v0/openapi.json": _resource(
        "This document",
        (),
        get={
            "operationId": "describe",
            "summary": "Describe the API",
            "security": [],
            "responses": {
                "200": {
                    "description": "An OpenAPI 3.1 document.",
                    "content": {"application/json": {"schema": {"type": "object"}}},
                },
                **refusals(),
            },
        },
    ),
    "/healthz": _resource(
        "For operators: does the process live?",
        (),
        get={
            "operationId": "alive",
            "summary": "Answer while the process lives",
            "security": [],
            "responses": {"200": json_answer("It does.", "Alive"), **refusals()},
        },
    ),
    "/readyz": _resource(
        "For operators: can requests be served?",
        (),
        get={
            "operationId": "ready",
            "summary": "Tell whether uploads and downloads work, and what does not",
            "security": [],
            "responses": {
                **refusals(),
                "200": json_answer("They work.", "Ready"),
                "503": json_answer("They don't, and why.", "NotReady"),
            },
        },
    ),
}
"""The document's ``paths``."""
