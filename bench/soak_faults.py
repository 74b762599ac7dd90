"""What happens around a server that is used for long."""

from __future__ import annotations

import math
import random
import time

from bench.services import Services
from tests.support.failover import demoted, read_only
from tests.support.faketime import WallClock

HOLD_SECONDS = 3.0
"""How long a part is without its role."""

RECOVERY_SECONDS = 10.0
"""So long afterwards something may still be refused (docs/reliability.md)."""


class Faults:
    """Clock jumps and fail-overs, one at a time and in turn.

    :ivar count: how many there were.
    """

    def __init__(self, services: Services, clock: WallClock) -> None:
        self._services = services
        self._clock = clock
        self._chance = random.Random(1)
        self._database_until = 0.0
        self._redis_until = 0.0
        self.count = 0

    def happen(self) -> None:
        """Let the next one happen; return when it is over."""
        kinds = (self._jump, self._demote_database, self._jump, self._demote_redis)
        kinds[self.count % len(kinds)]()
        self.count += 1

    def excuse(self, action: str, began: float) -> bool:
        """Say whether something that began then may be refused.

        :param action: the name of what a client did. Without its database a server
            refuses anything; without Redis only that somebody listens.
        """
        redis_matters = action == "listen"
        return began < self._database_until or (
            redis_matters and began < self._redis_until
        )

    def _jump(self) -> None:
        self._clock.jump(self._chance)

    def _demote_database(self) -> None:
        self._database_until = math.inf
        with read_only(self._services.dsn):
            time.sleep(HOLD_SECONDS)
        self._database_until = time.monotonic() + RECOVERY_SECONDS

    def _demote_redis(self) -> None:
        self._redis_until = math.inf
        with demoted(self._services.valkey):
            time.sleep(HOLD_SECONDS)
        self._redis_until = time.monotonic() + RECOVERY_SECONDS
