"""Request IDs: what a request is called in the log and in its answer."""

from __future__ import annotations

import re
from secrets import token_hex

_SANE = re.compile(rb"[\x21-\x7e]{1,128}")


def choose_request_id(given: bytes | None) -> str:
    """Return the ID that the client gave to its request, if that is sane, else a
    new one."""
    if given is not None and _SANE.fullmatch(given):
        return given.decode("ascii")
    return token_hex(16)
