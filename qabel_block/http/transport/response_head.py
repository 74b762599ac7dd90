"""Response heads as bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.web.http import datetimeToString
from twisted.web.http_headers import Headers


class DateHeader:
    """The time as ``Date`` has it, which is the same for a whole second.

    :param now: seconds since 1970.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._second = -1
        self._value = b""

    def value(self) -> bytes:
        """Return the header's value (RFC 9110 section 5.6.7)."""
        second = int(self._now())
        if second != self._second:
            self._second, self._value = second, datetimeToString(second)
        return self._value


def format_common(date: bytes, request_id: str) -> bytes:
    """Return the lines that are in the head of every answer."""
    return b"Date: %s\r\nServer: qabel-block\r\nX-Request-ID: %s" % (
        date,
        request_id.encode("ascii"),
    )


def format_connection(persistent: bool, seconds: int) -> bytes:
    """Return the lines that say whether the connection is kept.

    :param seconds: for how long an idle one is.
    """
    if persistent:
        return b"Connection: keep-alive\r\nKeep-Alive: timeout=%d" % seconds
    return b"Connection: close"


def format_head(
    version: bytes, code: bytes, reason: bytes, headers: Headers, *lines_before: bytes
) -> bytes:
    """Return the head of an answer, with the empty line at its end.

    :param lines_before: what comes before ``headers``.
    """
    lines = [b"%s %s %s" % (version, code, reason), *lines_before]
    for name, values in headers.getAllRawHeaders():
        lines += [b"%s: %s" % (name, value) for value in values]
    return b"\r\n".join([*lines, b"", b""])


def format_refusal(
    status: int,
    reason: bytes,
    common: bytes,
    text: str = "",
    headers: Iterable[tuple[bytes, bytes]] = (),
) -> bytes:
    """Return the answer to what is no request that can be served.

    :param common: what :func:`format_common` returns.
    :param text: what to tell people, in ASCII.
    :param headers: further ones.
    """
    lines = [b"%s: %s\r\n" % header for header in headers]
    if text:
        lines.append(b"Content-Type: text/plain\r\n")
    return (
        b"HTTP/1.1 %d %s\r\n%s\r\n%s"
        b"Connection: close\r\nContent-Length: %d\r\n\r\n%s"
        % (
            status,
            reason,
            common,
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
