"""A double of S3 that misbehaves: a proxy before a real store.

Requests are passed on as they are, signatures included, except those for which
a test has ordered something else.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import trustme
from attrs import define, field

from tests.support.s3 import Store

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


@define
class Exchange:
    """A request, and how it may be answered.

    :ivar operation: what boto3 calls it, in lower case.
    :ivar store: where the real store is.
    """

    operation: str
    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    store: tuple[str, int]
    handler: BaseHTTPRequestHandler = field(repr=False)

    def forward(self) -> tuple[int, dict[str, str], bytes]:
        """Ask the real store; return its answer."""
        connection = HTTPConnection(*self.store, timeout=60)
        try:
            headers = {**self.headers, "Content-Length": str(len(self.body))}
            connection.request(self.method, self.target, self.body, headers)
            answer = connection.getresponse()
            headers = {
                name: value
                for name, value in answer.getheaders()
                if name.lower() not in _HOP_BY_HOP
            }
            length = answer.getheader("Content-Length")
            body = answer.read()
            if self.method == "HEAD" and length is not None:
                headers["Content-Length"] = length
            return answer.status, headers, body
        finally:
            connection.close()

    def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        """Answer the request."""
        self.begin_answer(status, headers, len(body))
        self.handler.wfile.write(body)

    def begin_answer(self, status: int, headers: dict[str, str], length: int) -> None:
        """Send the head of an answer."""
        self.handler.send_response_only(status)
        for name, value in headers.items():
            self.handler.send_header(name, value)
        if "content-length" not in map(str.lower, headers):
            self.handler.send_header("Content-Length", str(length))
        self.handler.end_headers()

    def refuse(self, status: int, code: str) -> None:
        """Answer with an error, as S3 does."""
        text = f"<Error><Code>{code}</Code><Message>No.</Message></Error>"
        body = b"" if self.method == "HEAD" else text.encode()
        self.answer(status, {"Content-Type": "application/xml"}, body)

    def cut(self) -> None:
        """Break the connection off, what was sent but not received included."""
        self.handler.close_connection = True
        linger = b"\1\0\0\0\0\0\0\0"
        self.handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.handler.connection.close()


Behaviour = Callable[[Exchange], None]


@define
class Order:
    """What is to become of some requests.

    :ivar times: of how many of them.
    """

    operations: tuple[str, ...]
    behaviour: Behaviour
    times: float
    early: bool


class S3Proxy:
    """Passes requests on, and does what is ordered with some.

    :param authority: issues a certificate for https, if it is to be spoken.
    :param ca_bundle: the file with the authority's own.
    :ivar seen: the requests so far.
    """

    def __init__(
        self,
        store: Store,
        authority: trustme.CA | None = None,
        ca_bundle: Path | None = None,
    ) -> None:
        address = urlsplit(store.endpoint_url)
        assert address.hostname
        assert address.port
        self._address = (address.hostname, address.port)
        self._orders: list[Order] = []
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self.seen: list[Exchange] = []
        self._tls: ssl.SSLContext | None = None
        environment = store.environment
        if authority is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.issue_cert("127.0.0.1").configure_cert(self._tls)
            environment = {**environment, "AWS_CA_BUNDLE": str(ca_bundle)}
        self._server = self._listen(0)
        scheme = "https" if self._tls else "http"
        url = f"{scheme}://127.0.0.1:{self._server.server_port}"
        self.store = Store(url, environment)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.down()

    def order(
        self,
        behaviour: Behaviour,
        *operations: str,
        times: float = 1,
        early: bool = False,
    ) -> None:
        """Order something for the next requests of these kinds.

        :param early: whether to do it before the request's body is read.
        """
        with self._lock:
            self._orders.append(Order(operations, behaviour, times, early))

    def recover(self) -> None:
        """Forget all orders and all that was seen."""
        with self._lock:
            self._orders.clear()
            self.seen.clear()

    def operations(self) -> list[str]:
        """Return what was asked so far."""
        return [exchange.operation for exchange in self.seen]

    def open_connections(self) -> int:
        """Return how many connections there are at the moment."""
        return len(self._open)

    @contextmanager
    def being_down(self) -> Iterator[None]:
        """Let nobody listen for a while."""
        port = self._server.server_port
        self.down()
        yield
        self._server = self._listen(port)

    def down(self) -> None:
        """Stop listening, and break off all connections."""
        self._server.shutdown()
        self._server.server_close()
        for one in list(self._open):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def ordered(self, operation: str, early: bool) -> Behaviour | None:
        """Return what was ordered for a request, if anything."""
        with self._lock:
            for order in self._orders:
                if operation in order.operations and order.early == early:
                    order.times -= 1
                    if order.times <= 0:
                        self._orders.remove(order)
                    return order.behaviour
        return None

    def _listen(self, port: int) -> ThreadingHTTPServer:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 120

            def setup(self) -> None:
                super().setup()
                proxy._open.add(self.connection)

            def finish(self) -> None:
                proxy._open.discard(self.connection)
                with suppress(OSError):
                    super().finish()

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except OSError:
                    self.close_connection = True

            def log_message(self, *_arguments: Any) -> None:
                pass

            def _serve(self) -> None:
                headers = dict(self.headers.items())
                operation = operation_of(self.command, self.path)
                exchange = Exchange(
                    operation,
                    self.command,
                    self.path,
                    headers,
                    b"",
                    proxy._address,
                    self,
                )
                proxy.seen.append(exchange)
                behaviour = proxy.ordered(operation, early=True)
                if behaviour is not None:
                    self.close_connection = True
                else:
                    length = int(headers.get("Content-Length", 0))
                    exchange.body = self.rfile.read(length)
                    behaviour = proxy.ordered(operation, early=False) or _pass_on
                behaviour(exchange)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False
            request_queue_size = 100

        server = Server(("127.0.0.1", port), Handler)
        if self._tls is not None:
            server.socket = self._tls.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return server


def _pass_on(exchange: Exchange) -> None:
    exchange.answer(*exchange.forward())


def operation_of(method: str, target: str) -> str:
    """Return what boto3 calls a request."""
    url = urlsplit(target)
    query = parse_qs(url.query, keep_blank_values=True)
    on_bucket = len(url.path.strip("/").split("/")) == 1
    if "uploads" in query:
        return "list_multipart_uploads" if on_bucket else "create_multipart_upload"
    if "uploadId" in query:
        return {
            "PUT": "upload_part",
            "POST": "complete_multipart_upload",
            "DELETE": "abort_multipart_upload",
            "GET": "list_parts",
        }[method]
    if "delete" in query:
        return "delete_objects"
    kind = "bucket" if on_bucket else "object"
    return {"GET": "get", "PUT": "put", "HEAD": "head", "DELETE": "delete"}[
        method
    ] + f"_{kind}"
