"""Response heads as bytes."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.web.http_headers import Headers


def format_head(version: bytes, code: bytes, reason: bytes, headers: Headers) -> bytes:
    """Return the head of an answer, with the empty line at its end."""
    lines = [b"%s %s %s" % (version, code, reason)]
    for name, values in headers.getAllRawHeaders():
        lines += [b"%s: %s" % (name, value) for value in values]
    return b"\r\n".join([*lines, b"", b""])


def format_refusal(
    status: int,
    reason: bytes,
    request_id: str,
    text: str = "",
    headers: Iterable[tuple[bytes, bytes]] = (),
) -> bytes:
    """Return the answer to what is no request that can be served.

    :param text: what to tell people, in ASCII.
    :param headers: further ones.
    """
    lines = [b"%s: %s\r\n" % header for header in headers]
    if text:
        lines.append(b"Content-Type: text/plain\r\n")
    return (
        b"HTTP/1.1 %d %s\r\nX-Request-ID: %s\r\n%s"
        b"Connection: close\r\nContent-Length: %d\r\n\r\n%s"
        % (
            status,
            reason,
            request_id.encode("ascii"),
            b"".join(lines),
            len(text),
            text.encode("ascii"),
        )
    )


def format_rejection(reason: str) -> bytes:
    """Return the answer to a connection over the limit."""
    return (
        b"HTTP/1.1 503 %s\r\nRetry-After: 5\r\nConnection: close\r\n"
        b"Content-Length: 0\r\n\r\n" % reason.encode("ascii")
    )
