"""What it costs to be watched: ``python -m bench.observing``.

One server writes its log and collects metrics, as it should in use; others do one
of it or neither. They take turns, and each round begins with another.
"""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import httpx

from bench import wrk
from bench.contest import AUTHORIZATION, small_objects, store_small_objects
from bench.services import services
from bench.wrk import Measured

ROUNDS = 40
SECONDS = 1
CONNECTIONS = 64

QUIET = {"loggers": {"qabel_block.access": {"level": "WARNING"}}}
"""For ``--logging-config``: everything but a line for each request."""

METRICS = ("--prometheus-port", "0")
KINDS = {
    "neither": (False, ()),
    "metrics": (False, METRICS),
    "log": (True, ()),
    "metrics and log": (True, METRICS),
}
"""For each kind of server whether it logs requests, and its options."""


def _measure(folder: Path) -> dict[str, list[Measured]]:
    (folder / "objects").mkdir()
    seen: dict[str, list[Measured]] = {kind: [] for kind in KINDS}
    with ExitStack() as stack:
        around = stack.enter_context(services(folder / "objects"))
        around.add_prefixes({"small": 1})
        config = folder / "logging.json"
        config.write_text(json.dumps(QUIET))
        quiet = ("--logging-config", str(config), "--log-to-stderr")
        servers = {
            kind: stack.enter_context(around.server(*options, *(() if log else quiet)))
            for kind, (log, options) in KINDS.items()
        }
        first = servers["log"]
        with httpx.Client(
            base_url=f"{first.url}/api/v0/files", headers=AUTHORIZATION
        ) as client:
            store_small_objects(client)
        turns = list(servers.items())
        for number in range(ROUNDS):
            for kind, server in turns[number % 4 :] + turns[: number % 4]:
                load = small_objects(CONNECTIONS)
                seen[kind].append(wrk.measure(server.url, server.pid, load, SECONDS))
    return seen


def _row(kind: str, seen: dict[str, list[Measured]]) -> str:
    pairs = list(zip(seen[kind], seen["neither"], strict=True))
    rate = median(one.rate / other.rate for one, other in pairs)
    cpu = median(one.cpu - other.cpu for one, other in pairs) * 1e6
    whole = median(one.cpu for one in seen[kind]) * 1e6
    return (
        f"{kind:16} {median(one.rate for one in seen[kind]):8,.0f}/s {rate:6.3f}"
        f" {whole:8.1f} µs {cpu:+8.1f} µs\n"
    )


def main() -> None:
    """Measure, and print the medians of all rounds."""
    with tempfile.TemporaryDirectory() as folder:
        seen = _measure(Path(folder))
    sys.stdout.write(f"GET 1 KiB, {CONNECTIONS} connections, {ROUNDS} rounds\n")
    sys.stdout.write(f"{'':16} {'requests':>10} {'ratio':>6} {'CPU':>11}\n")
    for kind in KINDS:
        sys.stdout.write(_row(kind, seen))


if __name__ == "__main__":
    main()
