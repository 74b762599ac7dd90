"""Writes the head of an answer, and what follows it, in one piece.

Twisted writes a head in fifty pieces and looks at each: for a small answer that is
most of what writing it costs.

This module leans on ``HTTPChannel.writeHeaders``, ``write`` and ``writeSequence``,
through which requests of :mod:`twisted.web.http` write.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from qabel_block.http.framing import StrictChannel

if TYPE_CHECKING:
    from twisted.web.http_headers import Headers


class WritingChannel(StrictChannel):
    """An HTTP/1.1 connection that puts together what belongs together."""

    transport: Any
    _head = b""

    def writeHeaders(
        self, version: bytes, code: bytes, reason: bytes, headers: Headers
    ) -> None:
        """Keep a head for what follows it: a part of the body, or
        :meth:`send_head`."""
        lines = [b"%s %s %s" % (version, code, reason)]
        for name, values in headers.getAllRawHeaders():
            lines += [b"%s: %s" % (name, value) for value in values]
        self._head = b"\r\n".join([*lines, b"", b""])

    def send_head(self) -> None:
        """Send a head that nothing has followed so far."""
        if self._head:
            self.write(b"")

    def write(self, data: bytes) -> None:
        """Send ``data``, behind the head that waits for it."""
        head, self._head = self._head, b""
        self.transport.write(head + data if head else data)

    def writeSequence(self, iovec: Sequence[bytes]) -> None:
        """Send some pieces."""
        self.write(b"".join(iovec))
