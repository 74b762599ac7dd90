"""Basic authentication (RFC 7617) whose password is a token."""

from __future__ import annotations

import re
from base64 import b64decode

from qabel_block.errors import NoAuthorization

_BASIC = re.compile(r"basic +([A-Za-z0-9+/]{1,4096}={0,2}) *", re.IGNORECASE)
NOBODYS = "Token "
"""What is nobody's, wherever it is looked up."""

_TOKEN = re.compile(r"[\x21-\x7e]{1,1024}")


def token_authorization(header: str | None) -> str:
    """Return the ``Authorization`` that the token of a Basic one would have in v0.

    The user name is not looked at. What holds nothing that may be a token is returned
    as one that nobody has: it counts as a token that has failed.

    :param header: the value of ``Authorization``, if there is one.
    :raises NoAuthorization: if there is no header, or no password in it.
    """
    if not header:
        raise NoAuthorization
    basic = _BASIC.fullmatch(header)
    if basic is None:
        return NOBODYS
    try:
        credentials = b64decode(basic[1], validate=True)
    except ValueError:
        return NOBODYS
    token = credentials.partition(b":")[2].decode("latin-1")
    if not token:
        raise NoAuthorization
    if not _TOKEN.fullmatch(token):
        return NOBODYS
    return f"Token {token}"
