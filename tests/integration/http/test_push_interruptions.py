"""Push when Redis goes away, and when the server does."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis
from websockets.exceptions import ConnectionClosed, InvalidStatus

from qabel_block.ledger.migrate import upgrade
from tests.scenarios.push import event, listen
from tests.support.accounting import AccountingDouble
from tests.support.server import ServerProcess
from tests.support.settings import Setting, StoredFiles
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_for
from tests.support.world import User, World


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
    with world.process:
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


def test_redis_is_demoted(world_of_its_own: World, own_valkey: ValkeyServer) -> None:
    """When Redis becomes a replica, requests work, ``/readyz`` and the log say what
    is the matter, and sockets are closed with 1013. When it is none any more, push
    works again by itself. The log has one line for each."""
    world = world_of_its_own
    with ValkeyServer() as primary, world.process:
        user = world.user()
        wait_for(_all_works(user))
        with listen(user) as socket:
            own_valkey.client.replicaof("127.0.0.1", str(primary.port))
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv(timeout=60)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1013
        assert user.upload("a", b"x").status_code == 204
        answer = user.client.get("/readyz")
        reason = "Redis is a replica"
        assert answer.status_code == 200
        assert answer.json()["degraded"] == {"cache": reason, "push": reason}
        own_valkey.client.replicaof("NO", "ONE")
        wait_for(_all_works(user))
        with listen(user) as socket:
            user.upload("c", b"x")
            assert event(socket)["path"] == f"{user.prefix}/c"
        lines = [
            (record["level"], record["message"])
            for record in world.process.records()
            if record["logger"] == "qabel_block.operations.readiness"
        ]
    warnings = [message for level, message in lines if level == "WARNING"]
    for name in ("cache", "push"):
        assert len([one for one in warnings if name in one]) == 1
        again = [text for level, text in lines if level == "INFO" and name in text]
        assert len(again) == 1


def test_password_is_refused(world_of_its_own: World) -> None:
    """A password that Redis refuses is named by ``/readyz`` and once in the log;
    the password itself is nowhere."""
    world, secret = world_of_its_own, "wr0ng-password"
    with ValkeyServer("requirepass right") as valkey:
        host = world.process.options.index("--redis-host")
        world.process.options = (
            *world.process.options[:host],
            *world.process.options[host + 4 :],
            *("--redis-url", f"redis://:{secret}@127.0.0.1:{valkey.port}", "--debug"),
        )
        with world.process:
            user = world.user()
            reason = "Redis refuses the password"
            wait_for(lambda: user.client.get("/readyz").text.count(reason) == 2)
            assert user.upload("a", b"x").status_code == 204
            assert user.client.get("/readyz").status_code == 200
            lines = world.process.log().splitlines()
            assert sum(reason in line for line in lines) == 1
            assert secret not in world.process.log()
            assert "Starting factory" not in world.process.log()


def test_one_connection(world_of_its_own: World, own_valkey: ValkeyServer) -> None:
    """A process subscribes over one connection, whatever the number of sockets,
    to a channel for each prefix that somebody listens to."""
    world = world_of_its_own
    client = redis.Redis(port=own_valkey.port, decode_responses=True)

    def channels() -> list[str]:
        return [
            name
            for name in map(str, client.pubsub_channels())
            if re.search(":push:[^.]+$", name)
        ]

    with world.process:
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
    with world.process:
        user = world.user()
        wait_for(_all_works(user))
        with listen(user) as socket:
            assert world.process.stop() == 0
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv(timeout=60)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1001
