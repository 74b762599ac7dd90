"""A laptop that can't delete its backups, and the machine that can."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import frozen

from qabel_block.accounts.tokens import new_token, token_digest
from qabel_block.ledger.migrate import upgrade
from qabel_block.model import Permission
from tests.integration.ledger.support import change
from tests.support.database import query
from tests.support.restic import Restic, same_files, write_files
from tests.support.server import ServerProcess

NOT_ALLOWED = "403 Not allowed with this token"


@frozen
class Machines:
    """The same repository, with a token of each permission."""

    full: Restic
    append_only: Restic
    read_only: Restic
    dsn: str

    def stored(self) -> set[str]:
        """Return all files but locks."""
        rows = query(self.dsn, "SELECT path FROM objects WHERE path NOT LIKE 'locks/%'")
        return {path for (path,) in rows}

    def locks(self) -> int:
        ((count,),) = query(
            self.dsn, "SELECT count(*) FROM objects WHERE path LIKE 'locks/%'"
        )
        return int(count)


@pytest.fixture
def machines(home: Path) -> Iterator[Machines]:
    """A server with built-in accounts, one user, and three tokens."""
    place = home / "server"
    place.mkdir()
    dsn = f"sqlite:///{place / 'ledger.sqlite'}"
    upgrade(dsn)
    since = "'2026-01-01T00:00:00.000000+00:00'"
    tokens = {permission: new_token() for permission in Permission}
    change(
        dsn,
        "INSERT INTO accounts (user_id, name, storage_quota, traffic_quota, created)"
        f" VALUES (1, 'alice', {2**40}, {2**40}, {since})",
        *(
            "INSERT INTO tokens (user_id, id, sha256, permission, label, created)"
            f" VALUES (1, {number}, '{token_digest(token)}', '{permission.value}', '',"
            f" {since})"
            for number, (permission, token) in enumerate(tokens.items(), 1)
        ),
    )
    with ServerProcess("--standalone", str(place)) as server:

        def restic(permission: Permission) -> Restic:
            return Restic(server.url, tokens[permission], "laptop", home)

        yield Machines(
            restic(Permission.FULL),
            restic(Permission.APPEND_ONLY),
            restic(Permission.READ_ONLY),
            dsn,
        )


def test_append_only(machines: Machines, home: Path) -> None:
    """With an append-only token restic initialises, backs up, checks and restores, and
    takes locks away; it forgets, prunes and removes nothing. A full token does."""
    laptop, files = machines.append_only, home / "files"
    write_files(files, {"a": 2_000_000, "b": 10})
    laptop.succeed("init")
    laptop.succeed("backup", str(files))
    write_files(files, {"a": 1_000_000})
    laptop.succeed("backup", str(files))
    laptop.succeed("backup", str(files))  # what is there already
    assert machines.locks() == 0

    def refuses(*words: str) -> None:
        """See that a command is refused, and that nothing is lost by it."""
        before = machines.stored()
        laptop.complain(NOT_ALLOWED, *words)
        assert machines.stored() >= before
        assert machines.locks() == 1  # of the one that was killed
        laptop.succeed("unlock", "--remove-all")
        assert machines.locks() == 0

    refuses("forget", "--keep-last", "1")
    assert "3 snapshots" in laptop.succeed("snapshots")
    machines.full.succeed("forget", "--keep-last", "1")
    refuses("prune", "--max-unused", "0")
    assert "no errors were found" in laptop.succeed("check", "--read-data")
    assert same_files(Path(f"{laptop.restored()}{files}"), files)
    machines.full.succeed("prune", "--max-unused", "0")
    assert "no errors were found" in laptop.succeed("check", "--read-data")


def test_read_only(machines: Machines, home: Path) -> None:
    """With a read-only token restic restores, without a lock, and stores nothing."""
    files = home / "files"
    write_files(files, {"a": 100_000})
    machines.full.succeed("init")
    machines.full.succeed("backup", str(files))
    reader = machines.read_only
    target = home / "restored"
    reader.succeed("--no-lock", "restore", "latest", "--target", str(target))
    assert same_files(Path(f"{target}{files}"), files)
    reader.complain(NOT_ALLOWED, "backup", str(files))
    assert machines.locks() == 0
