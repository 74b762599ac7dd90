"""Several servers on one database and one Redis, and what may happen to them."""

from __future__ import annotations

import http.client
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from qabel_block.ledger.migrate import upgrade
from tests.support.database import query
from tests.support.failover import demoted, read_only
from tests.support.faketime import WallClock
from tests.support.postgres import PostgresServer
from tests.support.replication import ReplicaServer
from tests.support.server import ServerProcess
from tests.support.tcp_proxy import TcpProxy
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_for
from tests.system.faults.conftest import dsn_through

SERVERS = 3
LONGEST_DEMOTION_SECONDS = 0.5


class Cluster:
    """Servers on one database and one directory, and ways to disturb them.

    :param postgres: the database, of which the cluster disposes.
    :param network: in front of it.
    :param folder: for the objects and the clocks.
    """

    def __init__(
        self,
        postgres: ReplicaServer,
        network: TcpProxy,
        valkey: ValkeyServer,
        folder: Path,
    ) -> None:
        self._postgres = postgres
        self._network = network
        self._valkey = valkey
        self._clocks = [WallClock(folder / f"clock-{n}") for n in range(SERVERS)]
        self.servers = [
            ServerProcess(
                *("--psql-dsn", dsn_through(network, postgres.dsn)),
                *("--local-storage", str(folder / "objects"), "--dummy-auth", "T"),
                *("--redis-host", "127.0.0.1", "--redis-port", str(valkey.port)),
                environment=clock.environment,
            )
            for clock in self._clocks
        ]

    def __enter__(self) -> Self:
        for server in self.servers:
            server.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        for server in self.servers:
            server.kill()
        self._postgres.remove()

    def kill_a_server(self, chance: random.Random) -> None:
        """Kill a server and start it again, on another port."""
        server = chance.choice(self.servers)
        server.kill()
        server.start()

    def restart_the_database(self, chance: random.Random) -> None:
        """Restart it in good order, or as after a crash."""
        self._postgres.stop(chance.choice(["fast", "immediate"]))
        self._postgres.start()

    def fail_over(self, _chance: random.Random) -> None:
        """Let a standby take the place of the primary, which has not lost anything
        that it has answered."""
        standby = self._postgres.standby()
        self._postgres.stop()  # waits until the standby has all
        self._network.upstream = standby.socket
        standby.promote()
        self._postgres.remove()
        self._postgres = standby

    def demote_the_database(self, chance: random.Random) -> None:
        """Let it take no changes for a while."""
        with read_only(self._postgres.dsn):
            time.sleep(chance.random() * LONGEST_DEMOTION_SECONDS)

    def demote_redis(self, chance: random.Random) -> None:
        """Let it be a replica for a while."""
        with demoted(self._valkey):
            time.sleep(chance.random() * LONGEST_DEMOTION_SECONDS)

    def set_a_clock(self, chance: random.Random) -> None:
        """Set the wall clock of a server, back, forward or right."""
        chance.choice(self._clocks).jump(chance)

    def lose_a_commit(self, chance: random.Random) -> None:
        """Cut the next connection that commits, before or after it is done."""
        self._network.cut_once_at(b"COMMIT", deliver=chance.random() < 0.5)

    def lose_connections(self, _chance: random.Random) -> None:
        """Cut all connections to the database."""
        self._network.cut()

    def recover(self) -> None:
        """Return when all is well."""
        self._network.recover()
        wait_for(lambda: all(map(_is_ready, self.servers)), 30)

    def adds_up(self) -> bool:
        """Say whether the size is the sum of the objects."""
        ((sizes, total),) = query(
            self._postgres.dsn,
            "SELECT (SELECT coalesce(sum(size), 0) FROM users),"
            " (SELECT coalesce(sum(size), 0) FROM objects)",
        )
        return bool(sizes == total)


def _is_ready(server: ServerProcess) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """Start everything, each part of its own."""
    with (
        tempfile.TemporaryDirectory() as folder,
        PostgresServer() as model,
        ValkeyServer() as valkey,
    ):
        postgres = ReplicaServer(model)
        postgres.copy(model.dsn, standby=False)
        upgrade(postgres.dsn)
        with (
            TcpProxy(postgres.socket) as network,
            Cluster(postgres, network, valkey, Path(folder)) as cluster,
        ):
            yield cluster
