"""Runs restic as its users do."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
from attrs import frozen

PASSWORD = "what the repository is encrypted with"
SECONDS = 120.0
NAME = "restic"


def require_restic() -> None:
    """Skip the test where there is no restic."""
    if shutil.which(NAME) is None:
        pytest.skip("restic is not installed (Debian: apt-get install restic)")


@frozen
class ResticEnded:
    """A command that has ended."""

    status: int
    output: str


class ResticProcess:
    """A command that is running.

    :ivar output: what it has said so far, on both of its streams.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.output = ""
        self._more = threading.Condition()
        self._ended = False
        assert process.stdout is not None
        self._reader = threading.Thread(
            target=self._read, args=(process.stdout,), daemon=True
        )
        self._reader.start()

    def wait_for(self, text: str) -> None:
        """Wait until it has said something.

        :raises AssertionError: if it ends without, or takes too long.
        """
        with self._more:
            said = self._more.wait_for(
                lambda: text in self.output or self._ended, SECONDS
            )
        assert said, self.output
        assert text in self.output, self.output

    def wait(self) -> ResticEnded:
        """Wait for its end."""
        try:
            status = self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(self.output) from None
        self._join_reader()
        return ResticEnded(status, self.output)

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait(SECONDS)
        self._join_reader()

    def _join_reader(self) -> None:
        self._reader.join(SECONDS)
        assert not self._reader.is_alive(), "somebody else holds its output open"

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            with self._more:
                self.output += line
                self._more.notify_all()
        with self._more:
            self._ended = True
            self._more.notify_all()


class Restic:
    """Somebody's repository, and a place for restic's cache.

    :param server: where it is, as ``http://HOST:PORT``.
    :param token: the user's.
    """

    def __init__(self, server: str, token: str, name: str, home: Path) -> None:
        self.url = f"rest:{server.replace('//', f'//user:{token}@')}/restic/{name}/"
        self._home = home

    def start(self, *words: str, **environment: str) -> ResticProcess:
        """Start a command."""
        cache = self._home / "cache"
        cache.mkdir(exist_ok=True)
        return ResticProcess(
            subprocess.Popen(
                [NAME, "-r", self.url, "--cache-dir", str(cache), *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                cwd=self._home,
                env={**os.environ, "RESTIC_PASSWORD": PASSWORD, **environment},
            )
        )

    def run(self, *words: str, **environment: str) -> ResticEnded:
        """Run a command to its end."""
        return self.start(*words, **environment).wait()

    def succeed(self, *words: str, **environment: str) -> str:
        """Run a command that must succeed; return what it said."""
        ended = self.run(*words, **environment)
        assert ended.status == 0, ended.output
        return ended.output

    def fail(self, *words: str) -> str:
        """Run a command that must fail at once; return what it said."""
        ended = self.run(*words)
        assert ended.status != 0, ended.output
        return ended.output

    def complain(self, text: str, *words: str) -> None:
        """Run a command until it says something: what fails it tries again, for a
        quarter of an hour."""
        process = self.start(*words)
        try:
            process.wait_for(text)
        finally:
            process.kill()

    def restored(self) -> Path:
        """Restore the latest snapshot; return where that is."""
        target = Path(tempfile.mkdtemp(dir=self._home))
        self.succeed("restore", "latest", "--target", str(target))
        return target


def write_files(folder: Path, sizes: dict[str, int]) -> None:
    """Write files of random bytes."""
    for name, size in sizes.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size))


def same_files(one: Path, other: Path) -> bool:
    """Say whether two folders hold the same."""
    return _contents(one) == _contents(other)


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@contextmanager
def restic_home() -> Iterator[Path]:
    """Give a folder for what restic keeps, and for what is backed up."""
    require_restic()
    with tempfile.TemporaryDirectory(prefix="restic-") as home:
        yield Path(home)
