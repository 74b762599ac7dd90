"""``python -m bench``: the server against nginx and a bare Klein route."""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import httpx

from bench import record, report
from bench.accounts import accounts_rows
from bench.balancing import balancing_rows
from bench.buffering import buffering_rows
from bench.contest import (
    AUTHORIZATION,
    GIB,
    LARGE,
    MIB,
    Contest,
    store_small_objects,
)
from bench.growth import Growth
from bench.processes import peak
from bench.rivals import bare_klein, nginx
from bench.rows import Figure, Result, Row
from bench.s3 import s3_rows
from bench.scaling import two_processes
from bench.services import services
from tests.support.checkout import CHECKOUT

WORK: dict[str, Callable[[Contest], list[Row]]] = {
    "get": lambda contest: [contest.get_small()],
    "304": lambda contest: [contest.get_unchanged()],
    "post": lambda contest: [contest.post_small(), contest.post_cpu()],
    "get4m": lambda contest: [contest.get_large(), contest.large_cpu()],
    "upload": lambda contest: [contest.upload_large()],
    "download": lambda contest: [contest.download_large()],
    "latency": lambda contest: [contest.latency_during_transfers()],
    "growth": lambda contest: Growth(contest).rows(),
    "accounts": accounts_rows,
    "s3": s3_rows,
    "processes": two_processes,
    "balancing": balancing_rows,
    "buffering": buffering_rows,
}

RECORD = CHECKOUT / "docs" / "performance.json"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of each (default 5)")
    parser.add_argument(
        "--seconds", type=int, default=4, help="of load in a round (default 4)"
    )
    parser.add_argument(
        "--only", nargs="+", choices=WORK, default=list(WORK), help="part of the work"
    )
    parser.add_argument(
        "--directory", type=Path, help="where files are kept meanwhile (temporary)"
    )
    return parser.parse_args()


def _prepare(contest: Contest) -> None:
    """Upload what is going to be downloaded."""
    contest.services.add_prefixes(
        dict.fromkeys(("small", "large", "huge", "huge-download"), 1)
    )
    with httpx.Client(
        base_url=contest.us.url, headers=AUTHORIZATION, timeout=300
    ) as client:
        store_small_objects(client)
        contest.etag = client.head("/small/0").headers["ETag"]
        for number in range(LARGE):
            body = bytes([number]) * (4 * MIB)
            client.post(f"/large/{number}", content=body).raise_for_status()
        with contest.large.open("rb") as file:
            answer = client.post("/huge-download/0", content=file)
        answer.raise_for_status()


def _large_file(folder: Path) -> Path:
    path = folder / "1-gib"
    piece = bytes(range(256)) * 4096
    with path.open("wb") as file:
        for _ in range(GIB // len(piece)):
            file.write(piece)
    return path


def main() -> None:
    """Measure, print, and keep the result if all was to be measured."""
    arguments = _arguments()
    before = record.read(RECORD)
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(dir=arguments.directory))
        )
        (folder / "objects").mkdir()
        around = stack.enter_context(services(folder / "objects"))
        contest = Contest(
            around,
            stack.enter_context(around.server()),
            stack.enter_context(nginx(folder / "nginx", around.directory)),
            stack.enter_context(bare_klein()),
            arguments.rounds,
            arguments.seconds,
            _large_file(folder),
        )
        _prepare(contest)
        rows: list[Row] = []
        failed: list[str] = []
        for name in arguments.only:
            try:
                made = WORK[name](contest)
            except Exception:
                # An hour of other rows is not lost for one.
                traceback.print_exc()
                failed.append(name)
                continue
            rows += made
            sys.stderr.write(report.text(Result(made, []), before))
        memory = peak(contest.server.pid) / MIB
        figures = [Figure("memory, whole run", memory, 128, "MiB"), *contest.figures]
        result = Result(rows, figures, failed)
    sys.stdout.write(report.text(result, before))
    for warning in record.warnings(result, before):
        sys.stdout.write(f"{warning}\n")
    if set(arguments.only) == set(WORK):
        report.write(result, arguments.rounds, CHECKOUT / "docs")
        record.write(result, RECORD)
    if failed:
        sys.exit(f"failed: {' '.join(failed)}")


if __name__ == "__main__":
    main()
