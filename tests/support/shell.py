"""A shell in which commands of the documents are run."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from tests.support import forked
from tests.support.checkout import CHECKOUT
from tests.support.forkserver import fork_server
from tests.support.ports import free_port
from tests.support.waiting import wait_for

LIMIT = 240
"""Seconds for one block."""

_PROGRAMS = {"qabel-block": "qabel_block.cli", "twist": "twisted"}
_FAILED_REQUESTS = "fail\nsilent\nshow-error\nmax-time = 60\n"


class Shell:
    """Runs blocks of commands, one after the other, as one shell does: variables
    stay. A command that fails ends its block, and so does a request of curl's that
    is refused.

    :param folder: the working directory, its files are the reader's.
    :param instead: what stands in place of words of the documents, such as a host
        that is there for one that is not.
    :ivar port: where servers that it starts listen, instead of 8888.
    """

    def __init__(self, folder: Path, instead: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.instead = {**(instead or {}), "8888": str(self.port)}
        self._state = folder / ".state"
        self._state.touch()
        programs = folder / ".programs"
        programs.mkdir()
        self._inherited = [fork_server().fileno()]
        run = f'exec "{sys.executable}" -I -S "{forked.__file__}" {self._inherited[0]}'
        for name, module in _PROGRAMS.items():
            program = programs / name
            program.write_text(f'#!/bin/sh\n{run} {module} "$@"\n')
            program.chmod(0o755)
        (folder / ".curlrc").write_text(_FAILED_REQUESTS)
        self.environment = {
            **os.environ,
            "CURL_HOME": str(folder),
            "HOME": str(folder),
            "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(CHECKOUT),
            "QABEL_BLOCK_ADDRESS": "127.0.0.1",
            "QABEL_BLOCK_PORT": str(self.port),
        }

    def put_first(self, folder: Path) -> None:
        """Look for programs there before anywhere else."""
        self.environment["PATH"] = f"{folder}:{self.environment['PATH']}"

    def run(
        self,
        text: str,
        *,
        status: int = 0,
        answers: str = "",
        folder: Path | None = None,
    ) -> str:
        """Run a block; return what it has printed, errors included.

        :param status: with which it has to end.
        :param answers: what it reads.
        """
        done = subprocess.run(
            ["bash", "-c", self._script(text)],
            input=answers,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.environment,
            cwd=folder or self.folder,
            pass_fds=self._inherited,
            timeout=LIMIT,
        )
        assert done.returncode == status, f"{text}\n{done.stdout}"
        return done.stdout

    @contextmanager
    def serving(self, text: str, url: str = "") -> Iterator[Path]:
        """Run a block that serves, until the end of the ``with`` block.

        :param url: where it answers; the usual place if it isn't said.
        :return: a file with what it prints.
        """
        printed = self.folder / ".printed"
        with printed.open("wb") as file:
            process = subprocess.Popen(
                ["bash", "-c", self._script(text)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=self.environment,
                cwd=self.folder,
                pass_fds=self._inherited,
                start_new_session=True,
            )
        try:

            def ready() -> bool:
                assert process.poll() is None, f"{text}\n{printed.read_text()}"
                return _answers(url or self.url)

            wait_for(ready)
            yield printed
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(LIMIT)
            try:
                wait_for(lambda: not _members(process.pid))
            except AssertionError:
                left = _members(process.pid)
                os.killpg(process.pid, signal.SIGKILL)
                raise AssertionError(f"{left}\n{printed.read_text()}") from None

    def _script(self, text: str) -> str:
        for word, replacement in self.instead.items():
            text = text.replace(word, replacement)
        state = self._state
        return f"set -aeu -o pipefail\n. {state}\n{text}\nexport -p > {state}\n"


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", verify=False).status_code == 200
    except httpx.TransportError:
        return False


def _members(group: int) -> list[str]:
    """Return what runs in a group of processes; one that nobody has waited for does
    not."""
    members = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            stat = (process / "stat").read_text()
            state, parent, its_group = stat.rpartition(")")[2].split()[:3]
            if int(its_group) == group and state != "Z":
                command = (process / "cmdline").read_text().replace("\0", " ")
                members.append(f"{process.name} of {parent}: {state} {command}")
    return members


def without(text: str, excused: Mapping[str, str]) -> str:
    """Return a block without the lines that begin with a word that is excused."""
    words = "|".join(map(re.escape, excused))
    return re.sub(rf"^(?:{words})\b.*\n", "", text, flags=re.MULTILINE)
