"""Clients that use a server in every way at once, some of them badly."""

from __future__ import annotations

import http.client
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from websockets.exceptions import (
    ConnectionClosed,
    InvalidStatus,
    WebSocketException,
)
from websockets.sync.client import connect

from bench.services import TOKEN

CLIENTS = 8
OBJECTS = 200
SIZES = (0, 100, 1_000, 20_000, 70_000, 300_000, 2_000_000)
TIMEOUT = 60.0
UNAVAILABLE = 503
TRY_AGAIN_LATER = 1013
AUTHORIZATION = f"Token {TOKEN}"


class Load:
    """Clients that do everything, at random, for as long as they are told.

    :param excuse: says of an action and the time of its begin, by the monotonic
        clock, whether it may be refused with 503.
    """

    def __init__(self, port: int, excuse: Callable[[str, float], bool]) -> None:
        self._port = port
        self._excuse = excuse
        self._enough = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=(seed,), daemon=True)
            for seed in range(CLIENTS)
        ]
        self.done: Counter[str] = Counter()
        self.failures: list[str] = []
        self.prefix = ""

    def start(self) -> None:
        connection = self._connection()
        connection.request("POST", "/api/v0/prefix/", headers=_headers())
        self.prefix = connection.getresponse().read().decode().split('"')[3]
        connection.close()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join()

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT)

    def _work(self, seed: int) -> None:
        client = _Client(self._port, self.prefix, random.Random(seed))
        while not self._enough.is_set():
            name, action = client.choose()
            began = time.monotonic()
            try:
                action()
            except Unavailable as error:
                if self._excuse(name, began):
                    name = "unavailable"
                else:
                    self.failures.append(f"{name}: {error!r}")
            except (OSError, http.client.HTTPException, AssertionError) as error:
                self.failures.append(f"{name}: {error!r}")
                client.close()
                client.reconnect()
            self.done[name] += 1
        client.close()


class Unavailable(Exception):
    """The server has said that it can't do this now."""


def _headers(**more: str) -> dict[str, str]:
    named = {name.replace("_", "-"): value for name, value in more.items()}
    # So that a refusal says why.
    return {"Authorization": AUTHORIZATION, "Accept": "*/*", **named}


class _Client:
    """One client with a connection that it keeps."""

    def __init__(self, port: int, prefix: str, chance: random.Random) -> None:
        self._port = port
        self._prefix = prefix
        self._chance = chance
        self._etags: dict[str, str] = {}
        self.reconnect()
        self._actions: list[tuple[int, Callable[[], None]]] = [
            (25, self.upload),
            (10, self.upload_if_match),
            (35, self.download),
            (8, self.download_part),
            (8, self.download_unmodified),
            (6, self.delete),
            (4, self.quota),
            (2, self.listen),
            (2, self.leave_upload),
            (2, self.leave_download),
            (2, self.be_refused),
            (1, self.send_nonsense),
            (1, self.guess),
            (1, self.ready),
        ]

    def reconnect(self) -> None:
        self._connection = http.client.HTTPConnection(
            "127.0.0.1", self._port, timeout=TIMEOUT
        )

    def close(self) -> None:
        self._connection.close()

    def choose(self) -> tuple[str, Callable[[], None]]:
        weights = [weight for weight, _ in self._actions]
        ((_, action),) = self._chance.choices(self._actions, weights)
        return action.__name__, action

    def upload(self) -> None:
        path = self._path()
        status, etag, _ = self._ask("POST", path, _headers(), self._body())
        assert status == 204, status
        self._etags[path] = etag

    def upload_if_match(self) -> None:
        path = self._path()
        headers = _headers(If_Match=self._etags.get(path, '"none"'))
        status, _, _ = self._ask("POST", path, headers, self._body())
        assert status in (204, 412), status

    def download(self) -> None:
        status, _, _ = self._ask("GET", self._path(), {})
        assert status in (200, 404), status

    def download_part(self) -> None:
        status, _, _ = self._ask("GET", self._path(), {"Range": "bytes=5-50000"})
        assert status in (206, 404, 416), status

    def download_unmodified(self) -> None:
        path = self._path()
        headers = {"If-None-Match": self._etags.get(path, '"none"')}
        status, _, _ = self._ask("GET", path, headers)
        assert status in (200, 304, 404), status

    def delete(self) -> None:
        status, _, _ = self._ask("DELETE", self._path(), _headers())
        assert status == 204, status

    def quota(self) -> None:
        status, _, _ = self._ask("GET", "/api/v0/quota/", _headers())
        assert status == 200, status

    def ready(self) -> None:
        status, _, _ = self._ask("GET", "/readyz", {})
        assert status == 200, status

    def listen(self) -> None:
        """Listen for a moment, and leave with or without a goodbye."""
        url = f"ws://127.0.0.1:{self._port}/api/v0/websocket/{self._prefix}"
        try:
            socket = connect(url, additional_headers=_headers(), compression=None)
            with suppress(TimeoutError):
                socket.recv(timeout=0.2)
            if self._chance.random() < 0.5:
                socket.close()
            else:
                socket.socket.close()
        except InvalidStatus as error:
            if error.response.status_code == UNAVAILABLE:
                raise Unavailable from error
            raise AssertionError from error
        except ConnectionClosed as error:
            if error.rcvd is not None and error.rcvd.code == TRY_AGAIN_LATER:
                raise Unavailable from error
            raise AssertionError from error
        except WebSocketException as error:
            raise AssertionError from error

    def leave_upload(self) -> None:
        """Leave in the middle of an upload."""
        head = [
            f"POST {self._path()} HTTP/1.1",
            "Host: x",
            f"Authorization: {AUTHORIZATION}",
            "Content-Length: 900000",
        ]
        with self._raw() as raw:
            raw.sendall("\r\n".join([*head, "", ""]).encode())
            raw.sendall(b"x" * self._chance.randrange(500_000))

    def leave_download(self) -> None:
        """Leave in the middle of a download."""
        with self._raw() as raw:
            raw.sendall(f"GET {self._path()} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            raw.recv(1000)

    def be_refused(self) -> None:
        headers = _headers(Content_Digest="sha-256=:eA==:")
        status, _, _ = self._ask("POST", self._path(), headers, self._body())
        assert status == 400, status

    def send_nonsense(self) -> None:
        with self._raw() as raw:
            raw.sendall(self._chance.randbytes(200) + b"\r\n\r\n")
            with suppress(ConnectionError):
                raw.recv(1000)

    def guess(self) -> None:
        token = f"Token {self._chance.random()}"
        status, _, _ = self._ask("GET", "/api/v0/quota/", {"Authorization": token})
        assert status == 403, status

    def _raw(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), TIMEOUT)

    def _path(self) -> str:
        folder = self._chance.choice(["blocks", "deep/er"])
        number = self._chance.randrange(OBJECTS)
        return f"/api/v0/files/{self._prefix}/{folder}/{number}"

    def _body(self) -> bytes:
        return self._chance.randbytes(self._chance.choice(SIZES))

    def _ask(
        self, method: str, path: str, headers: dict[str, str], body: bytes | None = None
    ) -> tuple[int, str, bytes]:
        self._connection.request(method, path, body, headers)
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status == UNAVAILABLE:
            raise Unavailable(content)
        return answer.status, answer.getheader("ETag") or "", content
