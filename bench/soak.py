"""Whether anything grows while a server is used for long.

``python -m bench.soak --minutes 30`` starts a server as users run it (PostgreSQL,
Valkey, an accounting double, local storage) and uses it in every way at once, badly
behaved clients included, while its clock jumps and its database and Valkey are demoted
for moments. It prints what the process holds, and ends with status 1 if any of that
was more in the end than after the first minutes.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from statistics import median

import psycopg2
from attrs import fields_dict, frozen

from bench.services import Services, services
from bench.soak_faults import Faults
from bench.soak_load import Load
from tests.support.faketime import WallClock
from tests.support.server import ServerProcess

ESTABLISHED = "01"
"""In ``/proc/net/tcp``."""

INTERVAL_SECONDS = 10.0
TOLERATED_MEMORY = 8 * 2**20
TOLERATED = 4
"""More descriptors, threads or connections than that are growth."""

QUIET_SECONDS = 5.0


@frozen
class Sample:
    """What there was at one moment, of the server's process or for it."""

    memory: int
    descriptors: int
    threads: int
    clients: int
    postgres: int
    redis: int
    temporary: int


NAMES = tuple(fields_dict(Sample))


class SoakedServer:
    """A server and all around it."""

    def __init__(self, services: Services, server: ServerProcess) -> None:
        self._services = services
        self.server = server

    def sample(self) -> Sample:
        """Look at the process from outside."""
        process = Path(f"/proc/{self.server.pid}")
        open_files = [_target(link) for link in (process / "fd").iterdir()]
        ends = _connections({name for name in open_files if name.startswith("socket:")})
        return Sample(
            memory=self.server.memory(),
            descriptors=len(open_files),
            threads=len(list((process / "task").iterdir())),
            clients=sum(here == self.server.port for here, _ in ends),
            postgres=self._backends(),
            redis=sum(there == self._services.valkey.port for _, there in ends),
            temporary=len(list((self._services.directory / ".incoming").iterdir())),
        )

    def _backends(self) -> int:
        with (
            psycopg2.connect(self._services.dsn) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            ((count,),) = cursor.fetchall()
        connection.close()
        return int(count)


def _target(link: Path) -> str:
    with suppress(OSError):  # closed by now
        return os.readlink(link)
    return ""


def _connections(sockets: set[str]) -> list[tuple[int, int]]:
    """Return local and remote port of those sockets that are connected by TCP."""
    rows = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return [
        (int(here.partition(":")[2], 16), int(there.partition(":")[2], 16))
        for _, here, there, state, *rest in map(str.split, rows)
        if state == ESTABLISHED and f"socket:[{rest[5]}]" in sockets
    ]


def _line(seconds: float, sample: Sample, requests: int) -> str:
    memory = f"{sample.memory / 2**20:7.1f} MiB"
    others = " ".join(f"{getattr(sample, name):11d}" for name in NAMES[1:])
    return f"{seconds / 60:6.1f} min {memory} {others} {requests:10d}\n"


def growth(samples: list[Sample], idle_before: Sample, idle_after: Sample) -> list[str]:
    """Return what has grown from the second quarter of the samples to the last, and
    what is left when everybody has gone."""
    quarter = max(1, len(samples) // 4)
    early, late = samples[quarter : 2 * quarter], samples[-quarter:]
    found = []
    for name in NAMES:
        before = median(getattr(each, name) for each in early)
        after = median(getattr(each, name) for each in late)
        if after - before > (TOLERATED_MEMORY if name == "memory" else TOLERATED):
            found.append(f"{name} grew from {before:.0f} to {after:.0f}")
    for name in ("clients", "temporary"):
        if getattr(idle_after, name) > getattr(idle_before, name):
            found.append(f"{getattr(idle_after, name)} {name} are left")
    return found


def main() -> int:
    """Run, print, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak")
    parser.add_argument("--minutes", type=float, default=30.0)
    minutes = parser.parse_args().minutes
    titles = " ".join(f"{name:>11}" for name in NAMES[1:])
    sys.stdout.write(f"{'time':>10} {'memory':>11} {titles} {'requests':>10}\n")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        around = stack.enter_context(services(folder / "objects"))
        clock = WallClock(folder / "clock")
        server = stack.enter_context(around.server(environment=clock.environment))
        place = SoakedServer(around, server)
        faults = Faults(around, clock)
        load = Load(server.port, faults.excuse)
        idle_before = place.sample()
        load.start()
        began = time.monotonic()
        samples: list[Sample] = []
        while time.monotonic() < began + minutes * 60:
            time.sleep(INTERVAL_SECONDS)
            samples.append(place.sample())
            requests = load.done.total()
            seconds = time.monotonic() - began
            sys.stdout.write(_line(seconds, samples[-1], requests))
            sys.stdout.flush()
            faults.happen()
        load.stop()
        time.sleep(QUIET_SECONDS)
        idle_after = place.sample()
        sys.stdout.write(f"idle:      {_line(0, idle_after, load.done.total())[11:]}")
        log = server.log()
    found = growth(samples, idle_before, idle_after)
    if load.failures:
        found.append(f"{len(load.failures)} failed: {load.failures[0]}")
    tracebacks = [line for line in log.splitlines() if "Traceback" in line]
    if tracebacks:
        found.append(f"{len(tracebacks)} tracebacks in the log: {tracebacks[0]}")
    counts = ", ".join(f"{n} {name}" for name, n in load.done.most_common())
    sys.stdout.write(f"{faults.count} clock jumps and fail-overs\n")
    sys.stdout.write(f"{counts}\n{'; '.join(found) or 'nothing has grown'}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
