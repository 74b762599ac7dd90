"""The monthly traffic quota (PROTOCOL section 3)."""

import socket
import time
from typing import Any

from tests.support.world import User, World


def _refused(user: User, path: str = "a", **headers: str) -> bool:
    answer = user.download(path, **headers)
    return (answer.status_code, answer.reason_phrase) == (402, "Quota reached")


def _written(world: World, user: User) -> int:
    """Wait for the next batch to reach the ledger; return the month's traffic."""
    rows: list[tuple[Any, ...]] = []

    def written() -> bool:
        rows[:] = world.query(
            f"SELECT traffic, traffic_month FROM traffic WHERE user_id={user.user_id}"
        )
        return bool(rows)

    world.server.wait_for(written)
    ((traffic, month),) = rows
    assert str(month) == time.strftime("%Y-%m-01", time.gmtime())
    return int(traffic)


def test_refused_when_already_greater(world: World) -> None:
    """A GET is 402 once the traffic is greater than, not equal to, the quota."""
    user = world.user(traffic=20)
    user.upload("a", b"0123456789")
    assert user.download("a").status_code == 200
    assert user.download("a").status_code == 200  # 20 of 20
    assert user.download("a").status_code == 200  # it was not greater before
    assert _refused(user)
    assert _refused(user, Range="bytes=0-0")


def test_only_bodies_of_get_cost(world: World) -> None:
    """304, HEAD and errors cost nothing, a range only its bytes."""
    user = world.user()
    etag = user.upload("a", b"0123456789").headers["etag"]
    user.head("a")
    user.download("a", If_None_Match=etag)
    user.download("missing")
    user.download("a", Range="bytes=20-")
    user.download("a", If_Match='"x"')
    user.download("a", Range="bytes=2-4")
    assert _written(world, user) == 3


def test_the_owner_of_the_prefix_pays(world: World) -> None:
    """It is the owner's traffic, whoever downloads."""
    owner, reader = world.user(traffic=5), world.user(traffic=0)
    owner.upload("a", b"0123456789")
    reader._prefix = owner.prefix
    assert reader.download("a").status_code == 200
    assert _refused(reader)
    assert _refused(owner)
    assert _written(world, owner) == 10
    assert world.query(f"SELECT 1 FROM traffic WHERE user_id = {reader.user_id}") == []


def test_refusal_comes_before_conditions(world: World) -> None:
    """Over quota a conditional GET is 402 too (RFC 9110 section 13.2.1)."""
    user = world.user(traffic=0)
    etag = user.upload("a", b"x").headers["etag"]
    assert user.download("a", If_None_Match=etag).status_code == 304
    assert user.download("a").status_code == 200
    assert _refused(user, If_None_Match=etag)


def test_other_requests_go_on(world: World) -> None:
    """Over the traffic quota uploads and deletes still work; 404 stays 404."""
    user = world.user(traffic=0)
    user.upload("a", b"x")
    user.download("a")
    assert _refused(user)
    assert user.upload("b", b"x").status_code == 204
    assert user.delete("a").status_code == 204
    assert user.download("a").status_code == 404
    assert user.quota()["size"] == 1


def test_aborted_download_costs_what_was_sent(world: World) -> None:
    """A download that is broken off costs what was sent, not the whole."""
    user = world.user()
    size = 64 * 1024 * 1024
    user.upload("a", b"x" * size)
    wire = user.wire(receive_buffer=4096)
    wire.head("GET", user.url("a"))
    wire.socket.recv(100_000, socket.MSG_WAITALL)
    wire.close()
    world.server.wait_for(lambda: _written(world, user) >= 100_000 - 1000)
    assert _written(world, user) < size / 2


def test_raised_quota_allows_again(world: World) -> None:
    """A greater quota lets downloads go on."""
    user = world.user(traffic=0)
    user.upload("a", b"x")
    user.download("a")
    assert _refused(user)
    richer = world.login(user.user_id, traffic=1000)
    richer._prefix = user.prefix
    assert richer.quota()["size"] == 1  # the server hears of the new quota
    assert richer.download("a").status_code == 200
