"""Opening handshakes (RFC 6455 section 4.2).

A handshake is looked at like any other request, and refused like one. Only when it
is certain to succeed does the connection change protocols.
"""

from __future__ import annotations

from wsproto.utilities import generate_accept_token

from qabel_block.errors import BadRequest, OriginNotAllowed, UpgradeRequired
from qabel_block.http.headers import field
from qabel_block.http.transport.request import StreamingRequest

SUBPROTOCOL = "v0.ws.block.qabel.de"

_BEARER = "bearer."
"""What a subprotocol that holds a token begins with. It is never selected."""


def check_handshake(request: StreamingRequest) -> None:
    """Look at what RFC 6455 section 4.2.1 asks of a handshake.

    :raises UpgradeRequired: if it is none.
    :raises BadRequest: if it is wrong, or offers only other subprotocols.
    :raises OriginNotAllowed: if it comes from a page that is neither the server's own
        nor of an origin that the operator has named.
    """
    asked = "websocket" in _tokens(field(request, b"Upgrade"))
    version = field(request, b"Sec-WebSocket-Version")
    if request.method != b"GET" or not asked or version != "13":
        raise UpgradeRequired
    if request.clientproto != b"HTTP/1.1":
        raise UpgradeRequired  # RFC 9110 section 7.8
    if "upgrade" not in _tokens(field(request, b"Connection")):
        raise BadRequest("the handshake lacks Connection: Upgrade")
    if len(field(request, b"Sec-WebSocket-Key") or "") != 24:
        raise BadRequest("the handshake lacks a Sec-WebSocket-Key")
    if request.content_length != 0:
        raise BadRequest("a handshake has no body")
    offered = _offered(request)
    if offered and SUBPROTOCOL not in offered:
        raise BadRequest(f"the only subprotocol here is {SUBPROTOCOL}")
    if not request.site.cross_origin.admits_handshake(
        request.getHeader(b"Origin"), request.getHeader(b"Host")
    ):
        raise OriginNotAllowed


def offered_authorization(request: StreamingRequest) -> str | None:
    """Return the token that a page offers as a subprotocol, in the form of the header
    ``Authorization``, which pages can't send.

    :return: ``None`` if there is none, or no page is expected (PROTOCOL section 12).
    """
    if not request.site.cross_origin.enabled:
        return None
    for offered in _offered(request):
        token = offered.removeprefix(_BEARER)
        if token not in ("", offered):
            return f"Token {token}"
    return None


def accept(request: StreamingRequest) -> None:
    """Set the headers of the answer to a handshake that succeeds."""
    key = field(request, b"Sec-WebSocket-Key") or ""
    request.setHeader(b"Upgrade", b"websocket")
    request.setHeader(b"Connection", b"Upgrade")
    request.setHeader(
        b"Sec-WebSocket-Accept", generate_accept_token(key.encode("latin-1"))
    )
    if _offered(request):
        request.setHeader(b"Sec-WebSocket-Protocol", SUBPROTOCOL.encode("ascii"))


def _offered(request: StreamingRequest) -> list[str]:
    """Return the subprotocols that the client offers, as it spells them."""
    value = field(request, b"Sec-WebSocket-Protocol") or ""
    return [name for name in map(str.strip, value.split(",")) if name]


def _tokens(value: str | None) -> list[str]:
    return [token.strip().lower() for token in (value or "").split(",")]
