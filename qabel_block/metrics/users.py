"""What single users store (``--metrics-per-user``)."""

from __future__ import annotations

from contextlib import suppress

from prometheus_client import Gauge
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from qabel_block.errors import UnknownUser
from qabel_block.interfaces import IAuthenticator
from qabel_block.ledger.user_usage import UserUsageTable
from qabel_block.metrics.definitions import Metrics
from qabel_block.metrics.sampler import PeriodicSampler
from qabel_block.model import UNLIMITED

log = Logger()

INTERVAL = 60.0
"""Seconds between two looks."""

ASKED = 100
"""Users whose quotas an accounting server is asked for at each look, in turn."""


class UserSampler(PeriodicSampler):
    """Samples what each user stores, their quotas and latest uploads.

    :param authenticator: knows quotas that are not in the ledger.
    """

    def __init__(
        self,
        metrics: Metrics,
        table: UserUsageTable,
        authenticator: IAuthenticator,
        clock: IReactorTime,
    ) -> None:
        super().__init__(clock, INTERVAL, "users are not measured")
        self._gauges = metrics.users()
        self._table = table
        self._authenticator = authenticator
        self._seen: set[str] = set()
        self._asked = -1

    async def sample(self) -> None:
        """See :meth:`PeriodicSampler.sample`."""
        size, quota, latest = self._gauges
        seen = set()
        others = []
        async for page in self._table.users():
            for user_id, name, granted, stored, uploaded in page:
                label = str(user_id) if name is None else name
                seen.add(label)
                size.labels(label).set(stored)
                if uploaded:
                    latest.labels(label).set(uploaded / 1000)
                if name is None:
                    others.append(user_id)
                else:
                    quota.labels(label).set(_shown(granted))
        await self._ask(others, quota)
        for label in self._seen - seen:
            for gauge in self._gauges:
                _forget(gauge, label)
        self._seen = seen

    async def _ask(self, user_ids: list[int], quota: Gauge) -> None:
        """Ask for the quotas of those whose turn it is."""
        turn = sorted(user_ids, key=lambda one: (one <= self._asked, one))[:ASKED]
        for user_id in turn:
            self._asked = user_id
            try:
                account = await self._authenticator.account(user_id, "metrics")
            except UnknownUser:
                continue
            quota.labels(str(user_id)).set(_shown(account.storage_quota))


def _shown(quota: int) -> float:
    return float("inf") if quota == UNLIMITED else float(quota)


def _forget(gauge: Gauge, label: str) -> None:
    """Let there be no such user any more."""
    with suppress(KeyError):
        gauge.remove(label)
