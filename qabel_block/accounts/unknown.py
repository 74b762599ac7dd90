"""Who was unknown to the accounting server a moment ago."""

from __future__ import annotations

from collections import OrderedDict

from twisted.internet.interfaces import IReactorTime

SECONDS = 5.0
"""How long somebody stays unknown: so short that nobody notices who was given a
token after trying it, and long enough for a client that goes on trying."""


class RecentlyUnknown:
    """Keeps keys for a short time, up to a number of them.

    :param clock: tells when that is over.
    :param limit: keys; beyond that the ones kept longest are forgotten.
    """

    def __init__(self, clock: IReactorTime, limit: int = 10_000) -> None:
        self._clock = clock
        self._limit = limit
        self._until: OrderedDict[str, float] = OrderedDict()

    def __contains__(self, key: str) -> bool:
        return self._until.get(key, 0.0) > self._clock.seconds()

    def keep(self, key: str) -> None:
        """Keep a key from now on."""
        self._until[key] = self._clock.seconds() + SECONDS
        self._until.move_to_end(key)
        while self._is_over():
            self._until.popitem(last=False)

    def _is_over(self) -> bool:
        """Say whether the key kept longest is one too many, or of no use."""
        if len(self._until) > self._limit:
            return True
        return next(iter(self._until.values())) <= self._clock.seconds()
