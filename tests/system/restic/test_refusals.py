"""What restic's users read when something is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.restic import Restic, write_files
from tests.support.world import User, World

pytestmark = pytest.mark.parametrize(
    "setting", ["postgresql, local"], indirect=True, scope="session"
)

Repository = Callable[..., Restic]
PACK = 4_194_304
"""Bytes of the smallest packs that restic can be told to make."""


def backed_up(repository: Repository, user: User, home: Path, size: int) -> Restic:
    """Make a repository with a backup of a file of this size."""
    restic = repository(user)
    restic.succeed("init")
    write_files(home / "files", {"file": size})
    restic.succeed("backup", str(home / "files"))
    return restic


def test_token(repository: Repository, world: World) -> None:
    """A token that nobody has is said to be unknown; without one, one is asked for."""
    user = world.user()
    user.token = "nobodys"
    assert "401 Token not known" in repository(user).fail("snapshots")
    assert "401 Token not known" in repository(user).fail("init")
    user.token = ""
    assert "401 No token given as password" in repository(user).fail("snapshots")


def test_no_repository(repository: Repository, world: World) -> None:
    """What was never created is not there, nor what is somebody else's."""
    restic = repository(world.user())
    restic.succeed("init")
    assert "<config/> does not exist" in repository(world.user()).fail("snapshots")


def test_disabled_user(repository: Repository, world: World, home: Path) -> None:
    """A user who is disabled is told so."""
    user = world.user()
    repository(user).succeed("init")
    restic = repository(world.login(user.user_id, active=False))
    assert "403 User is disabled" in restic.fail("snapshots")
    assert "403 User is disabled" in restic.fail("backup", str(home))


def test_traffic(repository: Repository, world: World, home: Path) -> None:
    """Who has used up the month's traffic reads so."""
    user = world.user()
    backed_up(repository, user, home, 100_000)
    restic = repository(world.login(user.user_id, traffic=0))
    assert "403 Traffic quota of this month reached" in restic.fail("snapshots")


def test_full(repository: Repository, world: World, home: Path) -> None:
    """A backup that does not fit says why, again and again; what was backed up is
    whole, and after room was made the next fits."""
    user = world.user(quota=3_000_000)
    restic = backed_up(repository, user, home, 2_000_000)
    write_files(home / "files", {"another": 2_000_000})
    restic.complain("507 Storage quota reached", "backup", str(home / "files"))
    assert user.size <= 3_000_000
    restic.succeed("unlock")
    assert "no errors were found" in restic.succeed("check", "--read-data")
    (home / "files" / "another").unlink()
    restic.succeed("backup", str(home / "files"))


def test_full_in_parallel(repository: Repository, world: World, home: Path) -> None:
    """Of two backups at a time neither gets past the quota, and both say why; after
    that forgetting and pruning free space, and the next backup fits."""
    quota = 12 * PACK
    user = world.user(quota=quota)
    restic = backed_up(repository, user, home, PACK)
    write_files(home / "files", {"file": PACK})
    restic.succeed("backup", str(home / "files"))
    larger = [home / "one", home / "other"]
    for folder in larger:
        write_files(folder, {f"file-{n}": PACK for n in range(12)})
    backups = [
        restic.start("backup", str(folder), "--pack-size", "4") for folder in larger
    ]
    try:
        for backup in backups:
            backup.wait_for("507 Storage quota reached")
    finally:
        for backup in backups:
            backup.kill()
    before = user.size
    assert before == user.sum_of_objects > quota - 2 * PACK
    ((control,),) = world.query(
        "SELECT sum(o.size) FROM objects o JOIN prefixes p ON p.name = o.prefix"
        f" WHERE p.user_id = {user.user_id} AND (o.path LIKE 'locks/%'"
        " OR o.path LIKE 'index/%' OR o.path LIKE 'snapshots/%')"
    )
    assert before - control <= quota
    restic.succeed("unlock")
    assert "2 snapshots" in restic.succeed("snapshots")
    restic.succeed("forget", "--keep-last", "1")
    restic.succeed("prune", "--max-repack-size", "0")
    assert user.size < 3 * PACK
    assert "no errors were found" in restic.succeed("check", "--read-data")
    restic.succeed("backup", str(home / "files"))


def test_prune_a_full_repository(
    repository: Repository, world: World, home: Path
) -> None:
    """A repository whose quota was lowered to a hundredth of what is stored can be
    locked, forgotten and pruned, and that frees space."""
    user = world.user()
    backed_up(repository, user, home, 4_000_000)
    write_files(home / "files", {"file": 3_000_000})
    repository(user).succeed("backup", str(home / "files"))
    before = user.size
    restic = repository(world.login(user.user_id, quota=before // 100))
    restic.succeed("forget", "--keep-last", "1")
    restic.succeed("prune", "--max-repack-size", "0")
    assert user.size < before - 3_000_000
    assert "no errors were found" in restic.succeed("check", "--read-data")
