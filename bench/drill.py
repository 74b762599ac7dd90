"""The drill: ``python -m bench.drill``.

Starts three nodes behind nginx on PostgreSQL with a synchronous standby (Patroni,
etcd), Valkey with a replica and Sentinels, and SeaweedFS with two copies. Kills,
pauses and restarts each part in turn, and some two at a time, while clients work.
Ends with status 1 if an answered upload is lost, a history has no explanation, sizes
do not add up, or anything needs a hand.
"""

from __future__ import annotations

import argparse
import sys

from tests.support.replicated.installation import ReplicatedInstallation, missing
from tests.system.drill.faults import KINDS, PAIRS, Outcome, check, disturb, parts
from tests.system.drill.load import Load


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _row(outcome: Outcome) -> str:
    names = " and ".join(outcome.parts)
    return (
        f"| {outcome.kind} | {names} | {outcome.uploads:.1f} | {outcome.events:.1f} |"
        f" {outcome.wrong or 'nothing'} |"
    )


def main() -> int:
    """Run the drill; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.drill", description=__doc__)
    parser.add_argument("--kind", choices=KINDS, action="append", help="only this kind")
    parser.add_argument("--part", action="append", help="only this part")
    parser.add_argument("--no-pairs", action="store_true", help="one part at a time")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    reason = missing()
    if reason:
        _say(reason)
        return 2
    wrong: list[str] = []
    with ReplicatedInstallation() as installation:
        names = arguments.part or list(parts(installation))
        faults: list[tuple[str, tuple[str, ...]]] = [
            (kind, (name,)) for name in names for kind in arguments.kind or KINDS
        ]
        if not arguments.no_pairs:
            faults += [("kill", pair) for pair in PAIRS]
        _say("| fault | part | seconds without uploads | without events | wrong |")
        _say("|---|---|---|---|---|")
        with Load(installation, arguments.seed) as load:
            for kind, lost in faults:
                outcome = disturb(installation, load, kind, *lost)
                _say(_row(outcome))
                wrong += filter(None, [outcome.wrong])
        wrong += check(installation, load)
        _say(f"{len(load.stored)} answered uploads, {len(load.lost())} lost")
    for one in wrong:
        _say(f"WRONG: {one}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
