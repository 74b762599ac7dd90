"""A disk that fails when it is told to: a server whose calls for its storage
directory end in errors.

Run as a program it takes the storage directory, a control file and what to run
then. The control file names the calls that fail and the error, such as
``write,fsync EIO``; while it is empty, nothing fails.
"""

from __future__ import annotations

import errno
import os
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

CALLS = ("open", "write", "fsync", "link", "mkdir", "pread", "preadv", "unlink")


def command(directory: Path, control: Path) -> tuple[str, ...]:
    """Return what starts a server on such a disk, without its options."""
    program = (sys.executable, "-m", __name__, str(directory), str(control))
    return (*program, "twisted", "qabel-block")


class Disk:
    """Fails as the control file says, but only below one directory."""

    def __init__(self, directory: str, control: str) -> None:
        self._directory = directory
        self._control = control

    def install(self) -> None:
        for name in CALLS:
            setattr(os, name, self._failing(name, getattr(os, name)))

    def _failing(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def fail_if_told(*arguments: Any, **options: Any) -> Any:
            error = self._told(name)
            if error is not None and self._concerns(arguments, options):
                raise OSError(error, os.strerror(error))
            return call(*arguments, **options)

        return fail_if_told

    def _told(self, name: str) -> int | None:
        with open(self._control) as control:
            names, _, error = control.read().partition(" ")
        return getattr(errno, error) if name in names.split(",") else None

    def _concerns(self, arguments: tuple[Any, ...], options: dict[str, Any]) -> bool:
        descriptors = [options.get("dir_fd"), options.get("dst_dir_fd")]
        if isinstance(arguments[0], int):
            descriptors.append(arguments[0])
        return any(
            os.readlink(f"/proc/self/fd/{descriptor}").startswith(self._directory)
            for descriptor in descriptors
            if descriptor is not None
        )


if __name__ == "__main__":
    directory, control, module, *arguments = sys.argv[1:]
    Disk(directory, control).install()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
