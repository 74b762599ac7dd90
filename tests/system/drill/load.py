"""Clients that use an installation, and remember what they were told."""

from __future__ import annotations

import hashlib
import json
import random
import threading
import time
from types import SimpleNamespace
from typing import Any

import httpx
from attrs import define, field
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from tests.support.replicated.installation import TOKEN, ReplicatedInstallation
from tests.system.faults.histories import LOST, Answer, Client, History

REGISTER_CLIENTS = 4
PREFIX = "p"
_HEADERS = {"Authorization": f"Token {TOKEN}"}
_GATEWAY_ERRORS = frozenset({502, 504})
"""What nginx answers where it does not know what became of a request."""


class DrillClient(Client):
    """Changes a few objects through nginx for as long as it is let."""

    def work_until(self, stop: threading.Event) -> None:
        while not stop.is_set():
            self.step()
            stop.wait(0.2)

    def _ask(
        self, method: str, path: str, headers: dict[str, str], body: bytes | None = None
    ) -> Answer | None:
        answer = super()._ask(method, path, headers, body)
        if answer is not None and answer.status in _GATEWAY_ERRORS:
            return Answer(LOST)
        return answer


@define
class Gaps:
    """The longest time between two successes.

    :ivar failures: how often something failed.
    """

    longest: float = 0.0
    failures: int = 0
    _last: float = field(factory=time.monotonic)
    _lock: threading.Lock = field(factory=threading.Lock)

    def succeeded(self) -> None:
        with self._lock:
            now = time.monotonic()
            self.longest = max(self.longest, now - self._last)
            self._last = now

    def failed(self) -> None:
        with self._lock:
            self.failures += 1

    def reset(self) -> None:
        with self._lock:
            self.longest, self.failures, self._last = 0.0, 0, time.monotonic()

    def silence(self) -> float:
        """Return the seconds since the last success."""
        return time.monotonic() - self._last


class Load:
    """Uploads that must never be lost, downloads, events, and histories of objects
    that several clients change.

    :ivar uploads: gaps between answered uploads, each read back at once.
    :ivar events: gaps between events that a subscriber hears.
    """

    def __init__(self, installation: ReplicatedInstallation, seed: int) -> None:
        self.uploads = Gaps()
        self.events = Gaps()
        self.stored: dict[str, str] = {}
        self._installation = installation
        self._chance = random.Random(seed)
        self._history = History("none")
        self._stop = threading.Event()
        self._stop_clients = threading.Event()
        self._threads: list[threading.Thread] = []
        self._clients: list[threading.Thread] = []

    def __enter__(self) -> Load:
        for work in (self._upload, self._listen):
            thread = threading.Thread(target=work, daemon=True)
            self._threads.append(thread)
            thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stop.set()
        self._stop_clients.set()
        for thread in (*self._threads, *self._clients):
            thread.join()

    def begin_history(self, name: str) -> None:
        """Let clients change objects of their own, whose history begins now."""
        self._history = History(name)
        self._stop_clients.clear()
        cluster: Any = SimpleNamespace(
            servers=[SimpleNamespace(port=self._installation.port)]
        )
        for _ in range(REGISTER_CLIENTS):
            client = DrillClient(cluster, self._history, self._chance.randrange(2**32))
            thread = threading.Thread(
                target=client.work_until, args=(self._stop_clients,), daemon=True
            )
            self._clients.append(thread)
            thread.start()

    def end_history(self) -> str | None:
        """Return what of the history has no explanation, if anything."""
        self._stop_clients.set()
        for thread in self._clients:
            thread.join()
        self._clients.clear()
        return self._history.explain()

    def lost(self) -> list[str]:
        """Return the answered uploads that can't be read, or are not what was
        sent."""
        lost = []
        with httpx.Client(base_url=self._installation.url, timeout=60) as client:
            for path, digest in self.stored.items():
                answer = client.get(path)
                found = hashlib.sha256(answer.content).hexdigest()
                if answer.status_code != 200 or found != digest:
                    lost.append(f"{path}: {answer.status_code}")
        return lost

    def _upload(self) -> None:
        number = 0
        with httpx.Client(
            base_url=self._installation.url, headers=_HEADERS, timeout=30
        ) as client:
            while not self._stop.is_set():
                number += 1
                try:
                    well = self._upload_once(client, number)
                except httpx.HTTPError:
                    well = False
                if well:
                    self.uploads.succeeded()
                else:
                    self.uploads.failed()
                self._stop.wait(0.1)

    def _upload_once(self, client: httpx.Client, number: int) -> bool:
        """Store an object, read it, and make an event; say whether all that went
        well."""
        path = f"/api/v0/files/{PREFIX}/blocks/{number}"
        body = self._chance.randbytes(self._chance.choice([100, 5_000, 200_000]))
        if client.post(path, content=body).status_code != 204:
            return False
        self.stored[path] = hashlib.sha256(body).hexdigest()
        read = client.get(path)
        # Of blocks nobody is told.
        told = client.post(f"/api/v0/files/{PREFIX}/told", content=b"")
        return read.content == body and told.status_code == 204

    def _listen(self) -> None:
        url = f"ws://127.0.0.1:{self._installation.port}/api/v0/websocket/{PREFIX}/told"
        while not self._stop.is_set():
            try:
                with connect(url, open_timeout=10, close_timeout=1) as socket:
                    while not self._stop.is_set():
                        try:
                            message = socket.recv(timeout=1)
                        except TimeoutError:
                            continue
                        assert json.loads(message)["path"] == f"{PREFIX}/told"
                        self.events.succeeded()
            except (OSError, WebSocketException, TimeoutError):
                self.events.failed()
                self._stop.wait(0.2)
