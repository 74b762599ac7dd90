"""Limits what frames a client may send."""

from __future__ import annotations

from wsproto.extensions import Extension
from wsproto.frame_protocol import (
    CloseReason,
    FrameDecoder,
    FrameProtocol,
    Opcode,
    RsvBits,
)

FRAME_BYTES = 64 * 1024
"""The largest frame or message a client may send; nobody reads them."""

_NO_RESERVED_BITS = RsvBits(False, False, False)


class FrameLimits(Extension):
    """Refuses large messages by their heads, and drops what is in the others.

    An extension in wsproto's sense only: nothing is negotiated with the client.

    :ivar closing: whether the last frame that began is a closing one.
    """

    __slots__ = ("_is_control", "_length", "_received", "closing")

    def __init__(self) -> None:
        self.closing = False
        self._is_control = False
        self._length = 0
        self._received = 0

    def enabled(self) -> bool:
        """See :meth:`Extension.enabled`."""
        return True

    def offer(self) -> bool | str:
        """See :meth:`Extension.offer`: nothing is."""
        return False

    def frame_inbound_header(
        self,
        proto: FrameDecoder | FrameProtocol,
        opcode: Opcode,
        rsv: RsvBits,
        payload_length: int,
    ) -> CloseReason | RsvBits:
        """See :meth:`Extension.frame_inbound_header`. Called again for the same frame
        if its head was not complete."""
        self.closing = opcode is Opcode.CLOSE
        self._is_control = opcode.iscontrol()
        self._length = payload_length
        if not self._is_control and self._received + payload_length > FRAME_BYTES:
            return CloseReason.MESSAGE_TOO_BIG
        return _NO_RESERVED_BITS

    def frame_inbound_payload_data(
        self, proto: FrameDecoder | FrameProtocol, data: bytes
    ) -> bytes | CloseReason:
        """See :meth:`Extension.frame_inbound_payload_data`."""
        return data if self._is_control else b""

    def frame_inbound_complete(
        self, proto: FrameDecoder | FrameProtocol, fin: bool
    ) -> bytes | CloseReason | None:
        """See :meth:`Extension.frame_inbound_complete`."""
        if not self._is_control:
            self._received = 0 if fin else self._received + self._length
        return None

    def frame_outbound(
        self,
        proto: FrameDecoder | FrameProtocol,
        opcode: Opcode,
        rsv: RsvBits,
        data: bytes,
        fin: bool,
    ) -> tuple[RsvBits, bytes]:
        """See :meth:`Extension.frame_outbound`."""
        return rsv, data
