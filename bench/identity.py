"""What it costs to know whose the storage is: ``python -m bench.identity``.

One server compares the storage's identity as it should in use; the other takes it for
granted. They take turns, and each round begins with the other one.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import httpx

from bench import wrk
from bench.contest import AUTHORIZATION, small_objects, store_small_objects
from bench.services import services
from bench.wrk import Load, Measured

ROUNDS = 12
SECONDS = 2

_CREDULOUS = """
from qabel_block.storage.local.identity import IdentityFile
IdentityFile.require = lambda self, fds: None
from twisted.application.twist._twist import Twist
import sys
Twist.main(["twist", *sys.argv[1:]])
"""

UPLOADS = Load(
    "POST",
    32,
    prefix="/api/v0/files/small/new/",
    body_size=1024,
    headers=AUTHORIZATION,
)
KINDS = {"POST 1 KiB": UPLOADS, "GET 1 KiB": small_objects(64)}


def _measure(folder: Path) -> dict[str, list[tuple[Measured, Measured]]]:
    """Return for each kind of request pairs: with the comparison, and without."""
    seen: dict[str, list[tuple[Measured, Measured]]] = {kind: [] for kind in KINDS}
    with ExitStack() as stack:
        around = stack.enter_context(services(folder / "objects"))
        around.add_prefixes({"small": 1})
        careful, credulous = around.server(), around.server()
        credulous.command = (sys.executable, "-c", _CREDULOUS, "qabel-block")
        for server in (careful, credulous):
            stack.enter_context(server)
        with httpx.Client(
            base_url=f"{careful.url}/api/v0/files", headers=AUTHORIZATION
        ) as client:
            store_small_objects(client)
        for turn in range(ROUNDS):
            for kind, load in KINDS.items():
                pair = (careful, credulous)[:: 1 if turn % 2 else -1]
                found = {
                    server: wrk.measure(server.url, server.pid, load, SECONDS)
                    for server in pair
                }
                seen[kind].append((found[careful], found[credulous]))
    return seen


def main() -> None:
    """Measure, and print the medians of all rounds."""
    with tempfile.TemporaryDirectory() as folder:
        seen = _measure(Path(folder))
    sys.stdout.write(f"{'':12} {'CPU with':>10} {'CPU more':>10} {'rate':>7}\n")
    for kind, pairs in seen.items():
        cpu = median(one.cpu for one, _ in pairs) * 1e6
        more = median(one.cpu - other.cpu for one, other in pairs) * 1e6
        rate = median(one.rate / other.rate for one, other in pairs)
        sys.stdout.write(f"{kind:12} {cpu:7.1f} µs {more:+7.1f} µs {rate:7.3f}\n")


if __name__ == "__main__":
    main()
