"""Lets the kernel send a blob to a client, without a copy of it in this process.

That goes over plain TCP only: TLS is made here. A file is sent beside Twisted's own
buffers, so only while those are empty. Then, and where the socket's is full, Twisted
is asked for a turn as if it had found its own buffer full.

This module leans on the insides of :class:`twisted.internet.abstract.FileDescriptor`:
``dataBuffer`` and ``_tempDataLen`` are what it has still to send; it calls its
``producer`` again, once ``producerPaused`` is set, when it has nothing to send and
its socket takes more, which ``startWriting`` waits for.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import tcp

from qabel_block.interfaces import IFileBlobReader
from qabel_block.util.proxy_protocol import ProxyHeaderWrapper

SLICE_BYTES = 2 * 1024 * 1024
"""What is sent at the most before others have their turn."""


class FileSender:
    """Sends files over one connection.

    :param connection: plain TCP, with a push producer.
    """

    def __init__(self, connection: tcp.Server) -> None:
        self._connection: Any = connection

    def send(self, reader: IFileBlobReader, size: int) -> int | None:
        """Let the kernel send some of the next ``size`` bytes.

        Unless that were all, the connection's producer is paused until the client can
        take more.

        :return: bytes that were sent; 0 if they have to be read; ``None`` if the
            client can't take any now.
        """
        connection = self._connection
        sent: int | None = None
        if not connection.dataBuffer and not connection._tempDataLen:
            sent = reader.send(connection.fileno(), min(size, SLICE_BYTES))
        if sent is None or 0 < sent < size:
            connection.producerPaused = True
            connection.producer.pauseProducing()
            connection.startWriting()
        return sent


def file_sender(transport: object) -> FileSender | None:
    """Return what sends files over a channel's transport, if the kernel can."""
    if isinstance(transport, ProxyHeaderWrapper):
        transport = transport.transport
    # Not a subclass: those for TLS and UNIX sockets are.
    if type(transport) is tcp.Server and not getattr(transport, "TLS", False):
        return FileSender(transport)
    return None
