"""Refuses what others in the way of a request might read in another way.

A proxy in front that sees two requests where this server sees one, or one where
it sees two, lets a client smuggle requests past it (RFC 9112 section 11.2). So
nothing is taken that the grammar leaves open.

This module leans on ``HTTPChannel._maybeChooseTransferDecoder`` and
``_respondToBadRequestAndDisconnect``, which are Twisted's own business.
"""

from __future__ import annotations

import re

from twisted.web.http import HTTPChannel

_LENGTH = re.compile(rb"[0-9]{1,18}")
"""More digits would be a number that nothing here can hold."""

_STRAY = re.compile(rb"[\r\n\0]")


class StrictChannel(HTTPChannel):
    """An HTTP/1.1 connection that takes messages of one reading only."""

    def lineReceived(self, line: bytes) -> None:
        # A line feed or a carriage return alone ends a line for some (RFC 9112
        # section 2.2), and a line that is folded is two for others (section 5.2).
        if _STRAY.search(line) or line[:1] in (b" ", b"\t"):
            self._respondToBadRequestAndDisconnect()
        else:
            super().lineReceived(line)

    def _maybeChooseTransferDecoder(self, header: bytes, data: bytes) -> bool:
        if (header == b"Content-Length" and not _LENGTH.fullmatch(data)) or (
            header == b"Transfer-Encoding" and data.lower() != b"chunked"
        ):
            self._respondToBadRequestAndDisconnect()
            return False
        chosen: bool = super()._maybeChooseTransferDecoder(header, data)
        return chosen
