"""The scenarios of real clients over TCP, and their pools of connections."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from tests.scenarios.real_clients import *  # noqa: F403
from tests.scenarios.real_clients import upload_as_clients
from tests.support.world import User


def test_fifty_kept_connections(user: User) -> None:
    """Fifty pooled connections, all in use in parallel, again and again."""
    rounds, connections = 6, 50
    barrier = threading.Barrier(connections, timeout=60)
    user.prefix  # noqa: B018

    def work(number: int) -> None:
        with user.wire() as wire:
            for turn in range(rounds):
                barrier.wait()
                body = f"{number} {turn} ".encode() * 2000
                upload_as_clients(wire, user, f"blocks/{number}", body)
                assert wire.answer().status == 204
                wire.head("GET", user.url(f"blocks/{number}"), user.authorization)
                assert wire.answer().body == body
            wire.head("DELETE", user.url(f"blocks/{number}"), user.authorization)
            assert wire.answer().status == 204

    with ThreadPoolExecutor(connections) as pool:
        list(pool.map(work, range(connections)))
    assert user.size == user.sum_of_objects == 0
