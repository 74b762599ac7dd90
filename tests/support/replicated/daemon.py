"""A server process that may be killed, paused and started again."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Self

from tests.support.waiting import TIMEOUT_SECONDS


class Daemon:
    """One process, with its log in a file.

    :param name: what it is called in reports and its log's file.
    :param command: starts it; the same each time.
    :param folder: where it runs and logs.
    :param pid_file: has in its first line the ID of a process that belongs to it
        and is not its child.
    """

    def __init__(
        self,
        name: str,
        command: list[str],
        folder: Path,
        environment: dict[str, str] | None = None,
        pid_file: Path | None = None,
    ) -> None:
        self.name = name
        self._pid_file = pid_file
        self._command = command
        self._folder = folder
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self.log = folder / f"{name}.log"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.kill()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, unless it runs."""
        if self.running:
            return
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env=self._environment,
                start_new_session=True,
            )

    def kill(self) -> None:
        """End it and all its children, as a power failure would."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait(TIMEOUT_SECONDS)

    def stop(self) -> None:
        """End it in good order."""
        if self._process is not None and self.running:
            self._process.terminate()
            try:
                self._process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self.kill()

    def pause(self) -> None:
        """Let it hang, with its connections open."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """End a pause."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        for pid in self._pids(self._process.pid):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    def _pids(self, main: int) -> list[int]:
        pids = _family(main)
        if self._pid_file is not None and self._pid_file.exists():
            other = int(self._pid_file.read_text().split()[0])
            if self._is_ours(other):
                pids += _family(other)
        return pids

    def _is_ours(self, pid: int) -> bool:
        """Say whether a process works in our folder: IDs are used again."""
        try:
            command = Path(f"/proc/{pid}/cmdline").read_text()
        except OSError:
            return False
        return str(self._folder) in command


def _family(pid: int) -> list[int]:
    """Return a process and all that descend from it. Sessions don't tell: the
    processes of PostgreSQL have one of their own."""
    found = [pid]
    for parent in found:
        for task in Path("/proc").glob(f"{parent}/task/*/children"):
            try:
                found += map(int, task.read_text().split())
            except OSError:
                continue
    return found
