"""Backup and restore as docs/operating.md tells: copy the storage, dump the ledger,
copy what the storage has got meanwhile."""

from __future__ import annotations

import http.client
import shutil
import subprocess
import sys
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import httpx

from qabel_block.ledger.migrate import upgrade
from tests.support.checkout import CHECKOUT
from tests.support.database import query
from tests.support.load import Load
from tests.support.postgres import PostgresServer, databases_on
from tests.support.server import ServerProcess
from tests.support.waiting import wait_for

TOKEN = {"Authorization": "Token T"}
PATHS = 40


def _change(connection: http.client.HTTPConnection, number: int) -> int:
    """Store one of a few objects anew, and now and then delete one."""
    method = "DELETE" if number % 7 == 3 else "PUT"
    body = None if method == "DELETE" else f"{number} ".encode() * (number % 500)
    path = f"/api/v0/files/p/a/{number * 13 % PATHS}"
    connection.request(method, path, body, TOKEN)
    answer = connection.getresponse()
    answer.read()
    return answer.status


def _copy_new(source: Path, target: Path) -> None:
    """Copy the files that the target does not have; those that vanish meanwhile are
    no matter."""
    for file in source.rglob("*"):
        copy = target / file.relative_to(source)
        if file.is_file() and not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            try:
                shutil.copy(file, copy)
            except FileNotFoundError:
                copy.unlink(missing_ok=True)


def _run(*command: object) -> None:
    words = [str(word) for word in command]
    subprocess.run(words, check=True, cwd=CHECKOUT, timeout=60)


def test_backup_under_load(own_postgres: PostgresServer, tmp_path: Path) -> None:
    """Made while clients store and delete, it restores to a server on which every
    object is whole and the sizes add up."""
    storage, copy, dump = (tmp_path / name for name in ("objects", "copy", "dump"))

    def options(dsn: str, objects: Path) -> tuple[str, ...]:
        places = ("--psql-dsn", dsn, "--local-storage", str(objects))
        return (*places, "--dummy-cache", "--dummy-auth", "T")

    with databases_on(own_postgres.dsn) as new:
        dsn, restored = new(), new()
        upgrade(dsn)
        with ServerProcess(*options(dsn, storage)) as server:
            load = Load(
                lambda: http.client.HTTPConnection("127.0.0.1", server.port), _change
            )
            with load:
                wait_for(lambda: load.sent > 200)
                _copy_new(storage, copy)
                wait_for(lambda: load.sent > 400)
                _run(own_postgres.program("pg_dump"), "-Fc", "-f", dump, dsn)
                wait_for(lambda: load.sent > 600)
                _copy_new(storage, copy)
            assert set(load.answers) == {204}
        _run(own_postgres.program("pg_restore"), "--no-owner", "-d", restored, dump)
        # Blobs that were replaced before the dump, or came after it, are unknown.
        command = (sys.executable, "-m", "qabel_block.cli", "verify", "--psql-dsn")
        verify = (*command, restored, "--local-storage", copy)
        subprocess.run([*verify, "--repair", "--grace", "0"], cwd=CHECKOUT, timeout=60)
        _run(*verify)
        objects = query(restored, "SELECT prefix, path, size, sha256 FROM objects")
        assert objects
        with (
            ServerProcess(*options(restored, copy)) as server,
            httpx.Client(base_url=server.url, timeout=60) as client,
        ):
            for prefix, path, size, digest in objects:
                answer = client.get(f"/api/v0/files/{prefix}/{path}")
                assert len(answer.content) == size
                assert sha256(answer.content).hexdigest() == digest
                told = b64encode(bytes.fromhex(digest)).decode()
                assert answer.headers["repr-digest"] == f"sha-256=:{told}:"
            used = client.get("/api/v0/quota", headers=TOKEN).json()["size"]
            assert used == sum(size for _, _, size, _ in objects)
            answer = client.put("/api/v0/files/p/new", content=b"x", headers=TOKEN)
            assert answer.status_code == 204
