"""The life of a repository, lived by restic itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.support.restic import PASSWORD, Restic, same_files, write_files
from tests.support.world import World

Repository = Callable[..., Restic]


def test_life(repository: Repository, world: World, home: Path) -> None:
    """A folder is backed up twice, checked, restored, copied, forgotten and pruned."""
    user = world.user()
    restic, files = repository(user), home / "files"
    write_files(files, {"large": 6_000_000, "small": 10, "empty": 0, "a/b/c": 70_000})
    assert "created restic repository" in restic.succeed("init")
    assert "already" in restic.fail("init")
    restic.succeed("backup", str(files))
    assert "no errors were found" in restic.succeed("check", "--read-data")
    assert same_files(Path(f"{restic.restored()}{files}"), files)

    write_files(files, {"large": 5_000_000, "new": 100_000})
    restic.succeed("backup", str(files))
    assert "2 snapshots" in restic.succeed("snapshots")
    before = user.size
    restic.succeed("forget", "--keep-last", "1", "--prune", "--max-unused", "0")
    assert "1 snapshots" in restic.succeed("snapshots")
    assert user.size < before - 5_000_000
    restic.succeed("unlock")
    assert "no errors were found" in restic.succeed("check", "--read-data")
    assert same_files(Path(f"{restic.restored()}{files}"), files)

    other = repository(world.user(), "copy")
    other.succeed(
        "init",
        "--from-repo",
        restic.url,
        "--copy-chunker-params",
        RESTIC_FROM_PASSWORD=PASSWORD,
    )
    other.succeed("copy", "--from-repo", restic.url, RESTIC_FROM_PASSWORD=PASSWORD)
    assert "no errors were found" in other.succeed("check", "--read-data")
    assert same_files(Path(f"{other.restored()}{files}"), files)
    assert user.size == user.sum_of_objects
    assert user.client.get("/api/v0/prefix/").json() == {"prefixes": []}
