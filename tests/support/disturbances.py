"""What may happen around one server while it is used: clock jumps and fail-overs."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from tests.support.failover import read_only
from tests.support.faketime import WallClock

LONGEST_DEMOTION_SECONDS = 0.5


class Disturbances:
    """Disturb a server that has this clock and this database.

    :param dsn: a SQLite ledger has no role to lose.
    """

    def __init__(self, clock: WallClock, dsn: str) -> None:
        self._clock = clock
        self._dsn = dsn
        self._kinds: list[Callable[[random.Random], None]] = [clock.jump]
        if not dsn.startswith("sqlite:"):
            self._kinds.append(self._demote)

    def happen(self, chance: random.Random) -> None:
        """Let one of them happen; return when it is over."""
        chance.choice(self._kinds)(chance)

    def _demote(self, chance: random.Random) -> None:
        with read_only(self._dsn):
            time.sleep(chance.random() * LONGEST_DEMOTION_SECONDS)
