"""Records what clients see of a few objects while everything breaks.

``python -m tests.system.faults.histories --count 200`` records and checks so many
histories, and ends with status 1 if one of them has no explanation.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import random
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from attrs import define, evolve, field, frozen

from tests.system.faults.cluster import Cluster, running_cluster
from tests.system.faults.register import (
    ANYTHING,
    Anything,
    Kind,
    Operation,
    Value,
    explain,
)

CLIENTS = 20
OBJECTS = 3
REQUESTS = 30
"""How many each client sends."""

PAUSE_SECONDS = 0.1
"""The longest time that a client does nothing: without any, hardly anything would
ever happen while nothing else does."""

FAULTS = 4
"""How many happen in one history, a killed server always among them."""

TIMEOUT = 60.0
LOST = 0
"""In the place of a status: nothing was answered."""


@frozen
class Answer:
    """What came back for a request."""

    status: int
    etag: str | None = None
    body: bytes = b""


@define
class History:
    """What clients did and saw.

    :ivar name: of the folder with the objects.
    :ivar faults: what happened meanwhile.
    """

    name: str
    faults: list[str] = field(factory=list)
    _noted: list[tuple[str, Operation, str | None]] = field(factory=list)
    _values: dict[str, int] = field(factory=dict)
    _numbers: Iterator[int] = field(factory=lambda: itertools.count(1))
    _lock: threading.Lock = field(factory=threading.Lock)

    def path(self, thing: int) -> str:
        return f"/api/v0/files/p/{self.name}/{thing}"

    def new_value(self) -> int:
        with self._lock:
            return next(self._numbers)

    def body(self, value: int) -> bytes:
        """Return what stands for a value: short ones and long ones."""
        times = value % 7 * 100 * (50 if value % 10 == 0 else 1) + 1
        return f"{self.name} {value} ".encode() * times

    def value(self, body: bytes, etag: str) -> int:
        """Return the value that a body stands for, and learn its ETag.

        :raises AssertionError: if nobody has ever sent this body.
        """
        value = int(body.split(b" ", 2)[1])
        assert body == self.body(value)
        self.learn(etag, value)
        return value

    def learn(self, etag: str, value: int) -> None:
        """Learn which value an ETag stands for.

        :raises AssertionError: if it has stood for another one.
        """
        with self._lock:
            assert self._values.setdefault(etag, value) == value

    def note(self, path: str, operation: Operation, seen: str | None = None) -> None:
        """Note an operation.

        :param seen: the ETag that a refusal has told of.
        """
        with self._lock:
            self._noted.append((path, operation, seen))

    def operations(self) -> dict[str, list[Operation]]:
        """Return all operations, for each object by itself."""
        operations: dict[str, list[Operation]] = defaultdict(list)
        for path, operation, etag in self._noted:
            if operation.done is False:
                seen = self._values.get(etag, ANYTHING) if etag else None
                operation = evolve(operation, seen=seen)
            operations[path].append(operation)
        return operations

    def outcomes(self) -> Counter[str]:
        """Return how often requests were done, refused, or nobody knows."""
        names = {True: "done", False: "refused", None: "unknown"}
        return Counter(names[operation.done] for _, operation, _ in self._noted)

    def explain(self) -> str | None:
        """Return what has no explanation, if there is such an object."""
        for path, operations in self.operations().items():
            wrong = explain(operations)
            if wrong is not None:
                return f"{path}: {wrong}"
        return None


class Client:
    """Sends random requests to random servers."""

    def __init__(self, cluster: Cluster, history: History, seed: int) -> None:
        self._servers = cluster.servers
        self._history = history
        self._chance = random.Random(seed)
        self._connections: dict[int, http.client.HTTPConnection] = {}
        self._known: dict[str, tuple[str, int] | None] = {}

    def work(self) -> None:
        for _ in range(REQUESTS):
            time.sleep(self._chance.random() * PAUSE_SECONDS)
            self.step()

    def step(self) -> None:
        """Send one request."""
        path = self._history.path(self._chance.randrange(OBJECTS))
        if self._chance.random() < 0.4:
            self.read(path)
        elif self._chance.random() < 0.8:
            self._change(path, Kind.WRITE)
        else:
            self._change(path, Kind.DELETE)

    def read(self, path: str) -> None:
        """Look at an object."""
        began = time.monotonic()
        answer = self._ask("GET", path, {})
        if answer is None or answer.status in (LOST, 503):
            return
        assert answer.status in (200, 404)
        value: Value = None
        self._known[path] = None
        if answer.status == 200:
            assert answer.etag
            value = self._history.value(answer.body, answer.etag)
            self._known[path] = (answer.etag, value)
        operation = Operation(Kind.READ, value, began=began, ended=time.monotonic())
        self._history.note(path, operation)

    def _change(self, path: str, kind: Kind) -> None:
        value = self._history.new_value() if kind is Kind.WRITE else None
        body = None if value is None else self._history.body(value)
        expected, headers = self._condition(path, kind)
        began = time.monotonic()
        answer = self._ask("DELETE" if body is None else "POST", path, headers, body)
        if answer is None:
            return
        assert answer.status in (204, 412, LOST, 503)
        done = {204: True, 412: False}.get(answer.status)
        operation = Operation(kind, value, expected, done, began=began)
        if done is not None:
            operation = evolve(operation, ended=time.monotonic())
        if done:
            self._known[path] = None
            if value is not None:
                assert answer.etag
                self._history.learn(answer.etag, value)
                self._known[path] = (answer.etag, value)
        self._history.note(path, operation, answer.etag)

    def _condition(
        self, path: str, kind: Kind
    ) -> tuple[Value | Anything, dict[str, str]]:
        known = self._known.get(path)
        if known is not None and self._chance.random() < 0.7:
            etag, value = known
            return value, {"If-Match": etag}
        if kind is Kind.WRITE and self._chance.random() < 0.5:
            return None, {"If-None-Match": "*"}
        return ANYTHING, {}

    def _ask(
        self, method: str, path: str, headers: dict[str, str], body: bytes | None = None
    ) -> Answer | None:
        """Send a request; return ``None`` if that was not even possible."""
        port = self._chance.choice(self._servers).port
        connection = self._connections.get(port)
        if connection is None:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
            try:
                connection.connect()
            except OSError:
                return None
            self._connections[port] = connection
        try:
            headers = {**headers, "Authorization": "Token T"}
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            self._connections.pop(port).close()
            return Answer(LOST)
        if answer.will_close:
            self._connections.pop(port).close()
        return Answer(answer.status, answer.getheader("ETag"), content)


def record(cluster: Cluster, seed: int) -> History:
    """Let clients work while things break; return their history, to whose end
    somebody has looked at each object."""
    history = History(f"h{seed}")
    chance = random.Random(seed)
    faults = [
        cluster.kill_a_server,
        *chance.choices(
            [
                cluster.kill_a_server,
                cluster.restart_the_database,
                cluster.fail_over,
                cluster.demote_the_database,
                cluster.demote_redis,
                cluster.set_a_clock,
                cluster.lose_a_commit,
                cluster.lose_connections,
            ],
            k=FAULTS - 1,
        ),
    ]
    chance.shuffle(faults)
    clients = [Client(cluster, history, seed * 1000 + n) for n in range(CLIENTS)]
    with ThreadPoolExecutor(CLIENTS) as pool:
        working = [pool.submit(client.work) for client in clients]
        for fault in faults:
            time.sleep(chance.random() * 0.5)
            history.faults.append(fault.__name__)
            fault(chance)
        for work in working:
            work.result()
    cluster.recover()
    for thing in range(OBJECTS):
        clients[0].read(history.path(thing))
    assert cluster.adds_up()
    return history


def main() -> int:
    """Record and check histories; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.system.faults.histories")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    outcomes: Counter[str] = Counter()
    wrong = 0
    with running_cluster() as cluster:
        for seed in range(arguments.seed, arguments.seed + arguments.count):
            history = record(cluster, seed)
            outcomes += history.outcomes()
            explanation = history.explain()
            wrong += explanation is not None
            verdict = explanation or "linearizable"
            counts = ", ".join(f"{n} {name}" for name, n in history.outcomes().items())
            sys.stdout.write(
                f"{seed}: {counts}; {', '.join(history.faults)}: {verdict}\n"
            )
            sys.stdout.flush()
    total = (
        f"{arguments.count} histories, {outcomes.total()} requests ({dict(outcomes)})"
    )
    sys.stdout.write(f"{total}: {wrong} wrong\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
