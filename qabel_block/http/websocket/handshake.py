"""Opening handshakes (RFC 6455 section 4.2).

A handshake is looked at like any other request, and refused like one. Only when it
is certain to succeed does the connection change protocols.
"""

from __future__ import annotations

from wsproto.utilities import generate_accept_token

from qabel_block.errors import BadRequest, UpgradeRequired
from qabel_block.http.headers import field
from qabel_block.http.transport.request import StreamingRequest

SUBPROTOCOL = "v0.ws.block.qabel.de"


def check_handshake(request: StreamingRequest) -> None:
    """Look at what RFC 6455 section 4.2.1 asks of a handshake.

    :raises UpgradeRequired: if it is none.
    :raises BadRequest: if it is wrong, or offers only other subprotocols.
    """
    asked = "websocket" in _tokens(field(request, "Upgrade"))
    version = field(request, "Sec-WebSocket-Version")
    if request.method != b"GET" or not asked or version != "13":
        raise UpgradeRequired
    if "upgrade" not in _tokens(field(request, "Connection")):
        raise BadRequest("the handshake lacks Connection: Upgrade")
    if len(field(request, "Sec-WebSocket-Key") or "") != 24:
        raise BadRequest("the handshake lacks a Sec-WebSocket-Key")
    if request.content_length != 0:
        raise BadRequest("a handshake has no body")
    offered = field(request, "Sec-WebSocket-Protocol")
    if offered is not None and SUBPROTOCOL not in _tokens(offered):
        raise BadRequest(f"the only subprotocol here is {SUBPROTOCOL}")


def accept(request: StreamingRequest) -> None:
    """Set the headers of the answer to a handshake that succeeds."""
    key = field(request, "Sec-WebSocket-Key") or ""
    request.setHeader(b"Upgrade", b"websocket")
    request.setHeader(b"Connection", b"Upgrade")
    request.setHeader(
        b"Sec-WebSocket-Accept", generate_accept_token(key.encode("latin-1"))
    )
    if field(request, "Sec-WebSocket-Protocol") is not None:
        request.setHeader(b"Sec-WebSocket-Protocol", SUBPROTOCOL.encode("ascii"))


def _tokens(value: str | None) -> list[str]:
    return [token.strip().lower() for token in (value or "").split(",")]
