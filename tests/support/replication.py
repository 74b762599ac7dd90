"""A PostgreSQL primary and a standby that change roles, out of the same wheel."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Self

from psycopg2.extensions import make_dsn

from tests.support.database import query
from tests.support.postgres import PostgresServer
from tests.support.waiting import wait_for

_STANDBYS = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"


class ReplicaServer:
    """A server that begins as a copy of another one.

    :param model: where programs, and the user who runs them, are taken from.
    """

    def __init__(self, model: PostgresServer) -> None:
        self._model = model
        self._folder = Path(tempfile.mkdtemp(prefix="replica-"))
        self._data = self._folder / "data"
        if model.system_user is not None:
            shutil.chown(self._folder, model.system_user)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()

    def remove(self) -> None:
        """End it, and forget its data."""
        if (self._data / "postmaster.pid").exists():
            self.stop("immediate")
        shutil.rmtree(self._folder)

    @property
    def folder(self) -> str:
        """Where its socket is."""
        return str(self._folder)

    @property
    def socket(self) -> str:
        """The path of the socket on which it listens."""
        return f"{self._folder}/.s.PGSQL.5432"

    @property
    def dsn(self) -> str:
        """How it is reached."""
        return str(make_dsn(host=self.folder, user="postgres", dbname="postgres"))

    def copy(self, dsn: str, standby: bool) -> None:
        """Become a copy of a running server, and start.

        :param standby: whether to follow it from now on.
        """
        shutil.rmtree(self._data, ignore_errors=True)
        follow = ("-R",) if standby else ()
        self._model.run_program(
            "pg_basebackup", "-D", str(self._data), "-c", "fast", *follow, "-d", dsn
        )
        self.start()

    def start(self) -> None:
        """Start, and return when it answers."""
        # One that follows a primary that comes back is not to wait for long.
        options = (
            f"-k {self._folder} -c listen_addresses=''"
            " -c wal_retrieve_retry_interval=50"
        )
        log = str(self._folder / "log")
        self._control("-l", log, "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop, as ``pg_ctl stop -m`` does; ``immediate`` is like a crash."""
        self._control("-m", mode, "stop")

    def standby(self) -> ReplicaServer:
        """Return a new server that has what this one has, and follows it."""
        standby = ReplicaServer(self._model)
        standby.copy(self.dsn, standby=True)
        wait_for(lambda: query(self.dsn, _STANDBYS) == [(1,)])
        return standby

    def promote(self) -> None:
        """Become the primary."""
        self._control("promote")

    def _control(self, *words: str) -> None:
        self._model.run_program("pg_ctl", "-w", "-D", str(self._data), *words)
