"""Push when Redis goes away, and when the server does."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis
from websockets.exceptions import ConnectionClosed, InvalidStatus

from qabel_block.ledger.migrate import upgrade
from tests.integration.http.settings import Setting, StoredFiles
from tests.integration.http.test_push import event, listen
from tests.integration.http.world import User, World
from tests.support.accounting import AccountingDouble
from tests.support.server import ServerProcess
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_for


@pytest.fixture
def world_of_its_own(
    own_valkey: ValkeyServer, accounting: AccountingDouble, tmp_path: Path
) -> World:
    """A server that is not running yet, with a Redis that may be stopped."""
    dsn = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    upgrade(dsn)
    server = ServerProcess(
        *("--psql-dsn", dsn, "--local-storage", str(tmp_path / "objects")),
        *("--redis-host", "127.0.0.1", "--redis-port", str(own_valkey.port)),
        *("--accounting-host", accounting.url, "--apisecret", accounting.secret),
    )
    setting = Setting(dsn, (), {}, StoredFiles(tmp_path / "objects"))
    return World(server, accounting, setting)


def _all_works(user: User) -> Callable[[], bool]:
    return lambda: user.client.get("/readyz").json() == {"ready": True}


def test_redis_restarts(world_of_its_own: World, own_valkey: ValkeyServer) -> None:
    """While Redis is away uploads go on and sockets stay open; when it is back
    they are closed with 1013, since they may have missed something, and new ones
    hear again. Meanwhile nobody can begin to listen to a prefix."""
    world = world_of_its_own
    with world.server:
        user, other = world.user(), world.user()
        wait_for(_all_works(user))
        with listen(user) as socket:
            user.upload("a", b"x")
            assert event(socket)["path"] == f"{user.prefix}/a"
            own_valkey.stop()
            assert user.upload("b", b"x").status_code == 204
            answer = user.client.get("/readyz")
            assert answer.status_code == 200
            reason = "Redis can't be reached"
            assert answer.json() == {
                "ready": True,
                "degraded": {"cache": reason, "push": reason},
            }
            with pytest.raises(InvalidStatus) as caught:
                listen(other)
            assert caught.value.response.status_code == 503
            assert socket.ping().wait(30)
            own_valkey.start()
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv(timeout=60)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1013
        wait_for(_all_works(user))
        with listen(user) as socket:
            user.upload("c", b"x")
            assert event(socket)["path"] == f"{user.prefix}/c"


def test_one_connection(world_of_its_own: World, own_valkey: ValkeyServer) -> None:
    """A process subscribes over one connection, whatever the number of sockets,
    to a channel for each prefix that somebody listens to."""
    world = world_of_its_own
    client = redis.Redis(port=own_valkey.port, decode_responses=True)

    def channels() -> list[str]:
        return [
            name for name in map(str, client.pubsub_channels()) if name.count(":") > 1
        ]

    with world.server:
        users = [world.user() for _ in range(3)]
        wait_for(_all_works(users[0]))
        with listen(users[0]):
            with ExitStack() as sockets:
                for user in users:
                    for path in (None, "a", "b"):
                        sockets.enter_context(listen(user, path))
                assert len(channels()) == 3
                clients = client.client_list()
                assert len([each for each in clients if each["sub"] != "0"]) == 1
            wait_for(lambda: len(channels()) == 1)
            assert users[0].prefix in channels()[0]
        wait_for(lambda: channels() == [])


def test_server_stops(world_of_its_own: World) -> None:
    """SIGTERM closes sockets with 1001."""
    world = world_of_its_own
    with world.server:
        user = world.user()
        wait_for(_all_works(user))
        with listen(user) as socket:
            assert world.server.stop() == 0
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv(timeout=60)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1001
