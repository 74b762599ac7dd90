"""The scenarios of push over TCP, and those with many clients or processes."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import redis

from tests.scenarios.push import *  # noqa: F403
from tests.scenarios.push import HANDSHAKE, event, listen
from tests.support.server import ServerProcess
from tests.support.wire import Wire
from tests.support.world import User, World


def test_across_processes(world: World, second_server: ServerProcess) -> None:
    """Events of both processes reach subscribers of both."""
    one = world.user()
    other = world.login(one.user_id, server=second_server)
    other._prefix = one.prefix
    with listen(one) as first, listen(other) as second, listen(other, "a") as third:
        etags = [user.upload("a", b"x").headers["etag"] for user in (one, other)]
        for socket in (first, second, third):
            assert [event(socket)["etag"] for _ in etags] == etags


def test_order_of_one_object(user: User) -> None:
    """Events about one object come in the order of its changes, however many
    there are at a time."""
    count = 60

    def change(number: int) -> str | None:
        if number % 4 == 3:
            user.delete("a")
            return None
        return str(user.upload("a", b"%d" % number).headers["etag"])

    with listen(user, "a") as socket, ThreadPoolExecutor(12) as pool:
        made = {etag for etag in pool.map(change, range(count)) if etag}
        user.upload("a", b"last")
        told: list[dict[str, str]] = []
        while not told or told[-1].get("etag") != user.head("a").headers["etag"]:
            told.append(event(socket))
    etags = [each["etag"] for each in told if each["operation"] == "POST"]
    assert set(etags[:-1]) == made
    # Nothing is deleted twice in a row: a deletion of nothing is no change.
    operations = [each["operation"] for each in told]
    assert ("DELETE", "DELETE") not in pairwise(operations)


def test_stuck_subscriber(user: User, redis_address: tuple[str, int]) -> None:
    """A subscriber that does not read is cut off at a bound, and slows nobody."""
    path = "/".join(["x" * 170] * 5)
    with user.wire(receive_buffer=4096) as stuck, listen(user) as reads:
        stuck.head(
            "GET",
            f"/api/v0/websocket/{user.prefix}",
            {**user.authorization, **HANDSHAKE},
        )
        user.upload(path, b"")
        first = event(reads)
        # More than its bound, and what the kernel takes beside.
        count = 6000
        with redis.Redis(*redis_address) as events:
            (channel,) = events.pubsub_channels(f"*:push:{user.prefix}")
            for _ in range(count):
                events.publish(channel, json.dumps(first))
                assert event(reads) == first
        assert _read_all(stuck) < count * len(path)


def _read_all(wire: Wire) -> int:
    """Read until the connection ends, in whatever way; return how many bytes."""
    received = 0
    try:
        while data := wire.socket.recv(65536):
            received += len(data)
    except ConnectionResetError:
        pass
    return received
