"""Heads of answers as bytes."""

from __future__ import annotations

from twisted.web.http_headers import Headers

from qabel_block.http.transport.response_head import (
    DateHeader,
    format_common,
    format_connection,
    format_head,
)


def test_date() -> None:
    """The date is that of the current second (RFC 9110 section 5.6.7)."""
    now = 784111777.0
    date = DateHeader(lambda: now)
    assert date.value() == b"Sun, 06 Nov 1994 08:49:37 GMT"
    now += 0.9
    assert date.value() == b"Sun, 06 Nov 1994 08:49:37 GMT"
    now += 0.1
    assert date.value() == b"Sun, 06 Nov 1994 08:49:38 GMT"
    now -= 2  # the clock was set
    assert date.value() == b"Sun, 06 Nov 1994 08:49:36 GMT"


def test_head() -> None:
    """A head has a line for each value, what all answers have first."""
    headers = Headers({b"ETag": [b'"1"'], b"X": [b"a", b"b"]})
    head = format_head(
        b"HTTP/1.1",
        b"200",
        b"OK",
        headers,
        format_common(b"now", "r-1"),
        format_connection(True, 60),
    )
    assert head == (
        b"HTTP/1.1 200 OK\r\nDate: now\r\nServer: qabel-block\r\nX-Request-ID: r-1\r\n"
        b"Connection: keep-alive\r\nKeep-Alive: timeout=60\r\n"
        b'ETag: "1"\r\nX: a\r\nX: b\r\n\r\n'
    )
    assert format_connection(False, 60) == b"Connection: close"
