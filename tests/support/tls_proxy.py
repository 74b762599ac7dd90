"""TLS in front of a server that speaks none."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from typing import Self


class TlsProxy:
    """Listens on a port of 127.0.0.1 and passes on what is inside of TLS.

    :param context: has the certificate.
    :param upstream: the port of the real server.
    """

    def __init__(self, context: ssl.SSLContext, upstream: int) -> None:
        self._context = context
        self._upstream = upstream
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        _in_thread(self._accept)
        return self

    def __exit__(self, *_exception: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                _in_thread(self._serve, client)

    def _serve(self, plain: socket.socket) -> None:
        with (
            suppress(OSError),
            self._context.wrap_socket(plain, server_side=True) as client,
            socket.create_connection(("127.0.0.1", self._upstream)) as server,
        ):
            _in_thread(_pass, server, client)
            _pass(client, server)


def _pass(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


def _in_thread(function: object, *arguments: object) -> None:
    threading.Thread(target=function, args=arguments, daemon=True).start()  # type: ignore[arg-type]
