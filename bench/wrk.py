"""Load from ``wrk``."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from attrs import field, frozen

from bench.processes import cpu_seconds

_numbers = itertools.count()


@frozen
class Load:
    """What is asked for, by how many connections.

    :ivar paths: asked for in turn; if there are none, each request has a path
        of its own below ``prefix``.
    :ivar targets: in turn, what such a path begins with instead, and the token to
        send with it.
    """

    method: str = "GET"
    connections: int = 64
    paths: Sequence[str] = field(default=(), repr=False)
    targets: Sequence[tuple[str, str]] = field(default=(), repr=False)
    prefix: str = ""
    body_size: int | None = None
    headers: dict[str, str] = field(factory=dict)


@frozen
class Measured:
    """What came of it.

    :ivar requests: how many were answered.
    :ivar rate: requests a second.
    :ivar bandwidth: bytes a second.
    :ivar p50: seconds that half of the requests took at the most.
    :ivar p99: seconds that all but one in a hundred took at the most.
    :ivar cpu: processor seconds of the server for each request.
    """

    requests: int
    rate: float
    bandwidth: float
    p50: float
    p99: float
    cpu: float


class LoadFailed(Exception):
    """Not all requests were answered as they should."""


def measure(url: str, pid: int, load: Load, seconds: int) -> Measured:
    """Put load on a server for a while.

    :param pid: the server's process, whose processor time is counted.
    :raises LoadFailed: if an answer was an error or did not come.
    """
    program = shutil.which("wrk")
    if program is None:
        raise LoadFailed("wrk is needed")
    environment = {
        **os.environ,
        "WRK_METHOD": load.method,
        "WRK_PREFIX": f"{load.prefix}{next(_numbers)}-",
        "WRK_HEADERS": "".join(f"{key}: {val}\n" for key, val in load.headers.items()),
    }
    if load.body_size is not None:
        environment["WRK_BODY"] = str(load.body_size)
    with tempfile.TemporaryDirectory() as folder:
        if load.paths:
            file = Path(folder, "paths")
            file.write_text("".join(f"{path}\n" for path in load.paths))
            environment["WRK_PATHS"] = str(file)
        if load.targets:
            file = Path(folder, "targets")
            file.write_text("".join(f"{at} {token}\n" for at, token in load.targets))
            environment["WRK_TARGETS"] = str(file)
        before = cpu_seconds(pid)
        script = str(Path(__file__).with_suffix(".lua"))
        output = subprocess.run(
            [
                *(program, "-t1", f"-c{load.connections}", f"-d{seconds}s"),
                *("--timeout", "30s", "-s", script, url),
            ],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        used = cpu_seconds(pid) - before
    seen = json.loads(output.splitlines()[-1])
    if seen["refused"] or seen["failed"]:
        raise LoadFailed(f"{seen} for {load} at {url}")
    took = seen["microseconds"] / 1e6
    return Measured(
        requests=seen["requests"],
        rate=seen["requests"] / took,
        bandwidth=seen["bytes"] / took,
        p50=seen["p50"] / 1e6,
        p99=seen["p99"] / 1e6,
        cpu=used / max(seen["requests"], 1),
    )
