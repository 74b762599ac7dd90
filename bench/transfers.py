"""Single large transfers, by ``curl``, which needs little of the machine."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path


def upload(url: str, file: Path, headers: Sequence[str] = ()) -> float:
    """Upload a file, as PUT, without asking first; return the seconds it took."""
    return _curl("-T", str(file), *_headers(["Expect:", *headers]), url)


def download(url: str) -> float:
    """Download to nowhere; return the seconds it took."""
    return _curl(url)


def start_download(url: str) -> subprocess.Popen[bytes]:
    """Begin to download to nowhere."""
    return subprocess.Popen(_command(url))


def start_upload(
    url: str, file: Path, headers: Sequence[str] = ()
) -> subprocess.Popen[bytes]:
    """Begin to upload a file."""
    return subprocess.Popen(
        _command("-T", str(file), *_headers(["Expect:", *headers]), url)
    )


def _headers(headers: Sequence[str]) -> list[str]:
    return [part for header in headers for part in ("-H", header)]


def _command(*arguments: str) -> list[str]:
    return ["curl", "-sS", "--fail", "-o", "/dev/null", *arguments]


def _curl(*arguments: str) -> float:
    began = time.monotonic()
    subprocess.run(_command(*arguments), check=True)
    return time.monotonic() - began
