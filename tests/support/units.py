"""Reads the files in deploy/systemd as systemd does, as far as they go."""

from __future__ import annotations

import shlex
from pathlib import Path

from tests.support.checkout import CHECKOUT

FOLDER = CHECKOUT / "deploy/systemd"
SERVICE = FOLDER / "qabel-block.service"
SOCKET = FOLDER / "qabel-block.socket"
TWISTD = FOLDER / "qabel-block.service.d/twistd.conf"
VERIFY = FOLDER / "qabel-block-verify.service"
VERIFY_TIMER = FOLDER / "qabel-block-verify.timer"
ENVIRONMENT = FOLDER / "environment.example"


def settings(unit: Path) -> dict[str, list[str]]:
    """Return the values of each setting; an empty one forgets those before it."""
    found: dict[str, list[str]] = {}
    for line in _lines(unit):
        name, equals, value = line.partition("=")
        if equals:
            found.setdefault(name, []).append(value)
            if not value:
                found[name].clear()
    return found


def command(unit: Path) -> list[str]:
    """Return the words of its one ExecStart."""
    (line,) = settings(unit)["ExecStart"]
    return shlex.split(line)


def variables() -> dict[str, str]:
    """Return what the example of an environment file sets."""
    return dict(_pair(line) for line in _lines(ENVIRONMENT))


def suggestions() -> dict[str, str]:
    """Return what it has commented out."""
    lines = ENVIRONMENT.read_text().splitlines()
    marked = (line.removeprefix("#") for line in lines if line.startswith("#"))
    return dict(_pair(line) for line in marked if not line.startswith(" "))


def _pair(line: str) -> tuple[str, str]:
    name, _, value = line.partition("=")
    return name, value


def _lines(file: Path) -> list[str]:
    lines = file.read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]
