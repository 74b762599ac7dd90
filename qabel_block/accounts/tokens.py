"""Tokens of built-in accounts (PROTOCOL section 10)."""

from __future__ import annotations

import secrets
from hashlib import sha256

from qabel_block.names import is_token

_RANDOM_BYTES = 24


def new_token() -> str:
    """Return a token that nobody can guess."""
    return "qb_" + secrets.token_urlsafe(_RANDOM_BYTES)


def token_digest(token: str) -> str:
    """Return the hexadecimal SHA-256 of a token, under which it is kept."""
    return sha256(token.encode("ascii")).hexdigest()


def digest_of(authorization: str) -> str | None:
    """Return the digest of the token in an ``Authorization`` header; ``None`` if
    there is none of the right grammar in it."""
    scheme, _, rest = authorization.partition(" ")
    token = rest.strip(" ")
    if scheme.lower() != "token" or not is_token(token):
        return None
    return token_digest(token)
