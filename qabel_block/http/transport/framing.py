"""Where messages begin and end, and which are refused.

What a proxy in front might take for two requests, or for one of another length, is
no request here (RFC 9112 section 11.2).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from twisted.web.http_headers import Headers

_LENGTH = re.compile(rb"[0-9]{1,18}")
"""More digits would be a number that nothing here can hold."""

_LINE_END = re.compile(rb"[\r\n\0]")

_TLS_HANDSHAKE = b"\x16\x03"
_PRINTABLE = re.compile(rb"[\r\n\x20-\x7e]")


def is_ambiguous_line(line: bytes) -> bool:
    """Return whether a line of a head can be read in more than one way.

    A line feed or a carriage return alone ends a line for some (RFC 9112 section
    2.2), and a line that is folded is two for others (section 5.2).
    """
    return line[:1] in (b" ", b"\t") or _LINE_END.search(line) is not None


def is_ambiguous_length(header: bytes, value: bytes) -> bool:
    """Return whether a header leaves open where the body ends (RFC 9112 section 6).

    :param header: its name, as Twisted spells it.
    """
    if header == b"Content-Length":
        return _LENGTH.fullmatch(value) is None
    return header == b"Transfer-Encoding" and value.lower() != b"chunked"


def is_host_missing_or_repeated(hosts: Sequence[bytes], version: bytes) -> bool:
    """Return whether ``Host`` is not there exactly once (RFC 9112 section 3.2);
    only HTTP/1.0 may leave it out."""
    return len(hosts) > 1 or (not hosts and version == b"HTTP/1.1")


def is_persistent(version: bytes, headers: Headers) -> bool:
    """Return whether a client wants its connection kept (RFC 9112 section 9.3).

    HTTP/1.0 has to ask for it, and knows no chunks: with ``Transfer-Encoding`` the end
    of such a message is uncertain (section 6.1).
    """
    lines = headers.getRawHeaders(b"Connection")
    if lines is None:
        return version == b"HTTP/1.1"
    options = {one.strip().lower() for one in b",".join(lines).split(b",")}
    if b"close" in options:
        return False
    return version == b"HTTP/1.1" or (
        b"keep-alive" in options and not headers.hasHeader(b"Transfer-Encoding")
    )


def foreign_protocol(data: bytes) -> str | None:
    """Return which protocol is spoken if the first bytes of a connection can't be
    HTTP/1.x, else ``None``."""
    if not data or _PRINTABLE.match(data):
        return None
    if data.startswith(_TLS_HANDSHAKE[: len(data)]):
        return "TLS"
    return "something else"
