"""Which pages of other origins browsers let use this server (PROTOCOL section 12).

Browsers ask before they send what a form could not (a preflight, CORS), and show a
page only the answers that name its origin. Cookies play no part: a page needs a
token like everybody else.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

Headers = list[tuple[bytes, bytes]]

_SANE = re.compile(rb"[\x21-\x2b\x2d-\x7e]{1,512}")
"""An origin as browsers send it; not a list of them."""

_REQUEST_HEADERS = (
    b"Authorization, Content-Type, Content-Digest, If-Match, If-None-Match, If-Range,"
    b" Range, Repr-Digest, X-Request-ID"
)
_EXPOSED_HEADERS = (
    b"ETag, Content-Range, Accept-Ranges, Repr-Digest, Retry-After, X-Request-ID"
)
_MAX_AGE = b"7200"
"""Seconds for which a browser keeps what a preflight said; none keeps it longer than
a day, and Chromium no longer than this."""

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class CrossOrigin:
    """Decides what is said to pages of other origins.

    :param origins: those that the operator has named, as browsers spell them, and
        ``*`` for any. Without any of them nothing is ever said.
    """

    def __init__(self, origins: Collection[str] = ()) -> None:
        self._any = "*" in origins
        self._origins = frozenset(origin.encode("ascii") for origin in origins)

    @property
    def enabled(self) -> bool:
        """Whether the operator has named any origin."""
        return bool(self._origins)

    def names(self, origin: bytes | None) -> bool:
        """Say whether pages of this origin may use the server."""
        if origin is None or _SANE.fullmatch(origin) is None:
            return False
        return self._any or origin in self._origins

    def headers(self, origin: bytes | None) -> Headers:
        """Return the headers of every answer to a request from this origin.

        :param origin: the request's header ``Origin``, if it has one.
        """
        if not self.enabled:
            return []
        # Whoever keeps an answer must not give it to another origin.
        vary = (b"Vary", b"Origin")
        if origin is None or not self.names(origin):
            return [vary]
        return [
            vary,
            (b"Access-Control-Allow-Origin", origin),
            (b"Access-Control-Expose-Headers", _EXPOSED_HEADERS),
        ]

    def preflight_headers(self, methods: Iterable[str]) -> Headers:
        """Return the further headers of the answer to a preflight.

        :param methods: what the resource has.
        """
        return [
            (b"Access-Control-Allow-Methods", ", ".join(methods).encode("ascii")),
            (b"Access-Control-Allow-Headers", _REQUEST_HEADERS),
            (b"Access-Control-Max-Age", _MAX_AGE),
        ]

    def admits_handshake(self, origin: bytes | None, host: bytes | None) -> bool:
        """Say whether a WebSocket may be opened, to which CORS does not apply: a
        browser opens it for any page, and leaves it to the server to look.

        :param host: the request's header ``Host``.
        """
        if not self.enabled or origin is None or self.names(origin):
            return True
        return host is not None and _is_same(origin, host)


def _is_same(origin: bytes, host: bytes) -> bool:
    """Say whether an origin is the one that a request was sent to. Whether that was
    by TLS a proxy may hide."""
    scheme, _, authority = origin.decode("latin-1").lower().partition("://")
    port = _DEFAULT_PORTS.get(scheme)
    if port is None:
        return False
    own = host.decode("latin-1").lower()
    return authority.removesuffix(port) == own.removesuffix(port)
