"""The whole document."""

from __future__ import annotations

import json

from qabel_block import __version__
from qabel_block.http.description.answers import RESPONSES
from qabel_block.http.description.resources import PATHS
from qabel_block.http.description.schemas import PARAMETERS, SCHEMAS, Json

_DESCRIPTION = """\
Stores opaque objects for clients that encrypt everything before they send it.

* Every resource is there with and without a slash at its end. There are no redirects.
* HEAD is answered wherever GET is.
* Each answer has an `X-Request-ID`. The reason phrase of an error's status line says \
what is wrong.
* Errors have a body (`application/problem+json`, RFC 9457) only if the request has an \
`Accept` header that admits it, and never to DELETE or HEAD.
* A client that was refused may go on sending its body and reads the answer then.
"""

DOCUMENT: Json = {
    "openapi": "3.1.0",
    "info": {
        "title": "qabel-block",
        "version": __version__,
        "summary": "Block storage for end-to-end encrypted clients",
        "description": _DESCRIPTION,
        "license": {"name": "MIT", "identifier": "MIT"},
    },
    "servers": [{"url": "/"}],
    "paths": PATHS,
    "components": {
        "schemas": SCHEMAS,
        "parameters": PARAMETERS,
        "responses": RESPONSES,
        "securitySchemes": {
            "token": {
                "type": "apiKey",
                "in": "header",
                "name": "Authorization",
                "description": "`Token <token>`, as the accounting server gave it."
                " Refused with 403, not 401.",
            }
        },
    },
}

BODY = json.dumps(DOCUMENT, separators=(",", ":")).encode("ascii")
"""The document as it is sent."""
