"""What the balancing of connections brings: workers with it and without."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx

from bench.contest import Contest
from bench.rows import Row, Sample
from tests.support.checkout import CHECKOUT
from tests.support.server import ServerProcess
from tests.support.waiting import wait_for

CONNECTIONS = 40
REQUESTS = 20
"""On each connection."""

_WITHOUT = CHECKOUT / "bench" / "unbalanced"
_PATH = "/api/v0/files/small/0"


def balancing_rows(contest: Contest) -> list[Row]:
    """The part of all requests that the busier of two workers serves, on connections
    that are opened one after the other and kept, against workers of which each accepts
    what it can."""
    row = Row("requests of the busier of 2 workers", "unbalanced", "%", 0.9, True)
    options = ("--processes", "2", "--log-to-stderr")
    path = {"PYTHONPATH": f"{_WITHOUT}:{CHECKOUT}"}
    with (
        contest.services.server(*options) as balanced,
        contest.services.server(*options, environment=path) as unbalanced,
    ):
        for _ in range(contest.rounds):
            row.ours.append(Sample(_busier(balanced)))
            row.theirs.append(Sample(_busier(unbalanced)))
    return [row]


def _busier(server: ServerProcess) -> float:
    """Send requests; return the part of them that one worker has served, the one that
    has served more."""
    before = server.served()
    with ExitStack() as stack:
        clients = []
        for _ in range(CONNECTIONS):
            client = stack.enter_context(httpx.Client(base_url=server.url, timeout=60))
            client.get(_PATH).raise_for_status()
            clients.append(client)

        def read_often(client: httpx.Client) -> None:
            for _ in range(REQUESTS - 1):
                client.get(_PATH).raise_for_status()

        with ThreadPoolExecutor(CONNECTIONS) as threads:
            list(threads.map(read_often, clients))
    everything = CONNECTIONS * REQUESTS
    wait_for(lambda: (server.served() - before).total() == everything)
    return max((server.served() - before).values()) / everything
