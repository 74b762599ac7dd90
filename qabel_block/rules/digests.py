"""Digest fields (RFC 9530): what the client says its bytes hash to."""

from __future__ import annotations

from base64 import b64decode, b64encode

from werkzeug.http import parse_dict_header

from qabel_block.errors import BadRequest


def format_digest(sha256: str) -> str:
    """Return the value of ``Repr-Digest`` for a hexadecimal SHA-256."""
    return f"sha-256=:{b64encode(bytes.fromhex(sha256)).decode('ascii')}:"


def expected_digests(*fields: str | None) -> frozenset[str]:
    """Collect the SHA-256 digests that a request states for its body.

    An upload is the whole representation, without a content coding, so
    ``Content-Digest`` and ``Repr-Digest`` mean the same bytes here.

    :param fields: the values of both fields; ``None`` for one that is absent.
    :return: lower-case hexadecimal digests; empty if only other algorithms, or
        none, are given.
    :raises BadRequest: if a SHA-256 is given that can't be one.
    """
    found = set()
    for field in fields:
        for algorithm, value in parse_dict_header(field or "").items():
            if algorithm.lower() == "sha-256":
                found.add(_parse_sha256(value or ""))
    return frozenset(found)


def check_digest(expected: frozenset[str], sha256: str) -> None:
    """Compare the digests a client stated with that of the bytes received.

    :raises BadRequest: if any of them differs.
    """
    if expected - {sha256}:
        raise BadRequest("the body does not match its digest")


def _parse_sha256(value: str) -> str:
    # A byte sequence stands between colons; parameters may follow it
    # (RFC 9651 sections 3.1.2 and 3.3.5).
    item = value.partition(";")[0].strip()
    try:
        if len(item) < 2 or item[0] != ":" or item[-1] != ":":
            raise ValueError
        digest = b64decode(item[1:-1], validate=True)
        if len(digest) != 32:
            raise ValueError
    except ValueError:
        raise BadRequest("the sha-256 digest of the body is malformed") from None
    return digest.hex()
