"""A base image for containers made of this machine's Python.

Where no registry can be reached, it takes the place of the official image of Python.
"""

from __future__ import annotations

import ensurepip
import re
import shutil
import subprocess
import sysconfig
from itertools import chain
from pathlib import Path

_TOOLS = ("/bin/sh", "/bin/mkdir")
"""What RUN needs besides Python."""

_LIBRARIES = (
    *("libdl.so.2", "libgcc_s.so.1", "libpthread.so.0", "librt.so.1"),
    *("libstdc++.so.6", "libutil.so.1"),
)
"""What wheels may rely on besides what Python itself loads."""

_UNNEEDED = shutil.ignore_patterns(
    *("site-packages", "dist-packages", "test", "tests", "config-*"),
    *("idlelib", "lib2to3", "pydoc_data", "tkinter", "_tkinter*", "turtledemo"),
    "*.opt-?.pyc",
)
_PATH = re.compile(r"(/\S+) \(0x")


def copy_python(root: Path) -> Path:
    """Fill a directory with Python, a shell and their libraries, each at its own path.

    :return: the directory below it that has to be on ``PATH``.
    """
    bin_directory = Path(sysconfig.get_config_var("BINDIR"))
    stdlib = Path(sysconfig.get_path("stdlib"))
    version = sysconfig.get_python_version()
    python = bin_directory / f"python{version}"
    programs = [*map(Path, _TOOLS), python]
    modules = stdlib.glob("lib-dynload/[!_]*"), stdlib.glob("lib-dynload/_[!t]*")
    for path in (*programs, *_libraries([*programs, *chain(*modules)])):
        _copy(path, root)
    for name in ("python3", "python"):
        (_below(root, bin_directory) / name).symlink_to(python.name)
    shutil.copytree(stdlib, _below(root, stdlib), ignore=_UNNEEDED, symlinks=True)
    # Debian keeps what ensurepip installs elsewhere.
    wheels = sysconfig.get_config_var("WHEEL_PKG_DIR")
    if wheels:
        shutil.copytree(wheels, _below(root, Path(wheels)))
    assert ensurepip.version()
    temporary = root / "tmp"
    temporary.mkdir()
    temporary.chmod(0o1777)
    return bin_directory


def _libraries(loaders: list[Path]) -> set[Path]:
    """Return the shared libraries that these files load."""
    command = ["ldd", *map(str, loaders)]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = {Path(path) for path in _PATH.findall(listed)}
    folders = {path.parent for path in found}
    others = (folder / name for folder in folders for name in _LIBRARIES)
    return found | {path for path in others if path.exists()}


def _copy(path: Path, root: Path) -> None:
    target = _below(root, path)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, target)


def _below(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")
