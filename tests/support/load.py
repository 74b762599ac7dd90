"""Clients that send requests one after the other, and take note of failures."""

from __future__ import annotations

import http.client
import itertools
import os
import threading
from collections import Counter
from collections.abc import Callable

from attrs import define, field

from tests.support.waiting import TIMEOUT_SECONDS

TIMEOUT = 60.0

REQUESTS = int(os.environ.get("QABEL_BLOCK_TEST_LOAD", "1000"))
"""How many requests a server is restarted under; 10,000 in full."""

PAUSE_SECONDS = 0.02
"""For how long a client does nothing after each answer: if clients took all of the
machine, what they wait for would take several times as long to start."""


@define
class Load:
    """Some clients, each with a connection of its own, which it keeps for as long
    as the server says. As the real clients do, they send no request again.

    :param make: returns the connections.
    :param request: sends one request, given a number, and reads the answer.
    :ivar answers: how often each status was answered.
    :ivar failures: requests without a whole answer, connections refused or cut.
    """

    make: Callable[[], http.client.HTTPConnection]
    request: Callable[[http.client.HTTPConnection, int], int]
    clients: int = 8
    answers: Counter[int] = field(factory=Counter)
    failures: list[BaseException] = field(factory=list)
    _threads: list[threading.Thread] = field(factory=list)
    _numbers: itertools.count[int] = field(factory=itertools.count)
    _enough: threading.Event = field(factory=threading.Event)

    def __enter__(self) -> Load:
        for _ in range(self.clients):
            thread = threading.Thread(target=self._run, daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, *_exception: object) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join(TIMEOUT_SECONDS)
            assert not thread.is_alive(), "a request has no end"

    @property
    def sent(self) -> int:
        """How many requests were answered or have failed."""
        return sum(self.answers.values()) + len(self.failures)

    def _run(self) -> None:
        connection = self.make()
        while not self._enough.wait(PAUSE_SECONDS):
            try:
                status = self.request(connection, next(self._numbers))
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(error)
                connection.close()
            else:
                self.answers[status] += 1
        connection.close()


def get_and_put(token: str) -> Callable[[http.client.HTTPConnection, int], int]:
    """Return requests of which every tenth stores an object, which the others
    read."""

    def request(connection: http.client.HTTPConnection, number: int) -> int:
        if number % 10 == 0:
            headers = {"Authorization": f"Token {token}"}
            connection.request("PUT", f"/api/v0/files/p/{number}", b"x" * 500, headers)
        else:
            connection.request("GET", "/api/v0/files/p/0")
        answer = connection.getresponse()
        answer.read()
        return answer.status

    return request
