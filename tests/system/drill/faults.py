"""What happens to the parts of an installation in a drill, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping

from attrs import frozen

from tests.support.database import query
from tests.support.replicated.daemon import Daemon
from tests.support.replicated.installation import ReplicatedInstallation
from tests.support.tools import Ended, run_tool
from tests.support.waiting import wait_for
from tests.system.drill.load import Load

HOLD_SECONDS = 8.0
"""How long a part is away."""

STEADY_SECONDS = 3.0
"""So long everything has to work before the next fault."""

RECOVERY_SECONDS = 180.0

KINDS = ("kill", "pause", "restart")


@frozen
class Outcome:
    """What came of a fault.

    :ivar parts: which parts it happened to.
    :ivar uploads: seconds, the longest for which no upload succeeded.
    :ivar events: seconds, the longest for which no event was heard.
    :ivar wrong: what must not happen; empty if it has not.
    """

    kind: str
    parts: tuple[str, ...]
    uploads: float
    events: float
    wrong: str


def parts(installation: ReplicatedInstallation) -> Mapping[str, Callable[[], Daemon]]:
    """Return which parts there are, by what they do when something happens to
    them."""
    postgres, valkey, seaweed = (
        installation.postgres,
        installation.valkey,
        installation.seaweed,
    )
    return {
        "node": lambda: installation.nodes[0],
        "PostgreSQL primary": lambda: postgres.primary,
        "PostgreSQL standby": lambda: postgres.standby,
        "etcd": lambda: postgres.etcd,
        "Valkey master": lambda: valkey.master,
        "Valkey replica": lambda: valkey.replica,
        "Sentinel": lambda: valkey.sentinels[0],
        "SeaweedFS volume server": lambda: seaweed.volumes[0],
        "SeaweedFS master": lambda: seaweed.master,
        "SeaweedFS filer": lambda: seaweed.filer,
        "SeaweedFS S3 gateway": lambda: seaweed.gateway,
    }


PAIRS = (
    ("node", "PostgreSQL primary"),
    ("node", "Valkey master"),
    ("PostgreSQL primary", "Valkey master"),
    ("PostgreSQL standby", "SeaweedFS volume server"),
    ("PostgreSQL primary", "SeaweedFS volume server"),
    ("Valkey master", "Sentinel"),
)
"""Those that are lost two at a time."""


def disturb(
    installation: ReplicatedInstallation, load: Load, kind: str, *names: str
) -> Outcome:
    """Let something happen to parts at the same time, and wait until all is well
    without a hand on anything but these parts."""
    known = parts(installation)
    wait_for(installation.postgres.standby_is_synchronous, RECOVERY_SECONDS)
    daemons = [known[name]() for name in names]
    load.begin_history(f"{kind}-{'-'.join(names)}-{time.time_ns()}".replace(" ", "-"))
    load.uploads.reset()
    load.events.reset()
    for daemon in daemons:
        _begin(daemon, kind)
    time.sleep(HOLD_SECONDS)
    for daemon in daemons:
        _end(daemon, kind)
    wrong = "; ".join(_wait_until_well(installation, load))
    explanation = load.end_history()
    return Outcome(
        kind,
        names,
        load.uploads.longest,
        load.events.longest,
        "; ".join(filter(None, (wrong, explanation))),
    )


def check(installation: ReplicatedInstallation, load: Load) -> list[str]:
    """Return what is wrong after a drill, whose load has ended."""
    wrong = [f"lost: {one}" for one in load.lost()]
    ((sizes, total),) = query(
        installation.postgres.dsn,
        "SELECT (SELECT coalesce(sum(size), 0) FROM users),"
        " (SELECT coalesce(sum(size), 0) FROM objects)",
    )
    if sizes != total:
        wrong.append(f"sizes are {sizes}, objects add up to {total}")
    environment = installation.seaweed.environment

    def verify(*words: str) -> Ended:
        arguments = ("verify", "--json", *words, *installation.options)
        return run_tool(*arguments, environment=environment)

    # The note of a blob that was never committed may be lost with a primary: such
    # blobs may be there, and nothing else.
    repaired = verify("--repair", "--grace", "0")
    findings = {entry["kind"] for entry in repaired.said} - {"verified"}
    if findings - {"unknown-blob"}:
        wrong.append(f"verify --repair: {repaired.out} {repaired.err}")
    verified = verify()
    if verified.status != 0:
        wrong.append(f"verify: {verified.out} {verified.err}")
    return wrong


def _begin(daemon: Daemon, kind: str) -> None:
    if kind == "pause":
        daemon.pause()
    elif kind == "kill":
        daemon.kill()
    else:
        daemon.stop()


def _end(daemon: Daemon, kind: str) -> None:
    if kind == "pause":
        daemon.resume()
    else:
        daemon.start()


def _wait_until_well(installation: ReplicatedInstallation, load: Load) -> Iterator[str]:
    deadline = time.monotonic() + RECOVERY_SECONDS
    steady_since = None
    while time.monotonic() < deadline:
        failures = (load.uploads.failures, load.events.failures)
        well = installation.is_ready() and all(
            gaps.silence() < STEADY_SECONDS for gaps in (load.uploads, load.events)
        )
        if not well or steady_since is None or steady_since[1] != failures:
            steady_since = (time.monotonic(), failures) if well else None
        elif time.monotonic() - steady_since[0] > STEADY_SECONDS:
            return
        time.sleep(0.2)
    yield f"not well after {RECOVERY_SECONDS:.0f} s"
