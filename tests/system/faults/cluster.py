"""Several servers on one database, all of which may be restarted."""

from __future__ import annotations

import http.client
import random
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from qabel_block.ledger.migrate import upgrade
from tests.support.database import query
from tests.support.postgres import PostgresServer, databases_on
from tests.support.server import ServerProcess
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import wait_for
from tests.system.faults.conftest import dsn_through, postgres_address

SERVERS = 3


class Cluster:
    """Servers on one database and one directory, and ways to disturb them."""

    def __init__(
        self, postgres: PostgresServer, network: TcpProxy, dsn: str, directory: Path
    ) -> None:
        self._postgres = postgres
        self._network = network
        self._dsn = dsn
        self.servers = [
            ServerProcess(
                *("--psql-dsn", dsn_through(network, dsn)),
                *("--local-storage", str(directory)),
                *("--dummy-auth", "T", "--dummy-cache"),
            )
            for _ in range(SERVERS)
        ]

    def start(self) -> None:
        for server in self.servers:
            server.start()

    def stop(self) -> None:
        for server in self.servers:
            server.kill()

    def kill_a_server(self, chance: random.Random) -> None:
        """Kill a server and start it again, on another port."""
        server = chance.choice(self.servers)
        server.kill()
        server.start()

    def restart_the_database(self, chance: random.Random) -> None:
        """Restart it in good order, or as after a crash."""
        self._postgres.stop(chance.choice(["fast", "immediate"]))
        self._postgres.start()

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
            self._dsn,
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
    """Start everything, on a PostgreSQL of its own."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        postgres = stack.enter_context(PostgresServer())
        dsn = stack.enter_context(databases_on(postgres.dsn))()
        upgrade(dsn)
        network = stack.enter_context(TcpProxy(postgres_address(dsn)))
        cluster = Cluster(postgres, network, dsn, folder / "objects")
        cluster.start()
        stack.callback(cluster.stop)
        yield cluster
