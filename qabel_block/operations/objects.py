"""What can be done here: one method for each thing a client may ask for.

Whoever calls has read the request; whoever is called knows nothing of HTTP.
"""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

from twisted.logger import Logger

from qabel_block.errors import NotOwner, ObjectNotFound, QuotaReached
from qabel_block.interfaces import IAuthenticator, IBlobReader, IStorageBackend
from qabel_block.ledger.ledger import Ledger
from qabel_block.model import Account, ChangeEvent, ObjectName, ReadState, WriteState
from qabel_block.operations.traffic import TrafficMeter
from qabel_block.operations.usage import UsageEvent
from qabel_block.rules.conditions import Conditions
from qabel_block.rules.quota import month_of, traffic_exhausted
from qabel_block.util.keyed_lock import KeyedLock

log = Logger()


def check_owner(account: Account, owner_id: int) -> None:
    """Allow changes below a prefix only to whom it belongs.

    :raises NotOwner: if it is somebody else's.
    """
    if owner_id != account.user_id and not account.any_prefix:
        raise NotOwner


class Operations:
    """Everything but uploads, which are in :mod:`qabel_block.operations.upload`.

    :param locks: keep events about one object in the order of its changes.
    :param publish: tells other devices of a change that is durable.
    :param now: seconds since 1970.
    :param record_usage: told what was stored, freed and downloaded.
    """

    def __init__(
        self,
        ledger: Ledger,
        storage: IStorageBackend,
        authenticator: IAuthenticator,
        traffic: TrafficMeter,
        locks: KeyedLock,
        publish: Callable[[ChangeEvent], None],
        now: Callable[[], float],
        record_usage: Callable[[UsageEvent], None],
    ) -> None:
        self._ledger = ledger
        self._storage = storage
        self._authenticator = authenticator
        self._traffic = traffic
        self._locks = locks
        self._publish = publish
        self._now = now
        self._record_usage = record_usage

    async def storage_used(self, account: Account) -> int:
        """Return the bytes that a user stores: the sum of all objects."""
        return await self._ledger.storage_used(account.user_id)

    async def prefixes(self, account: Account) -> list[str]:
        """Return a user's prefixes, oldest first."""
        return await self._ledger.prefixes(account.user_id)

    async def create_prefix(self, account: Account) -> str:
        """Give a user a new prefix and return its name, a UUID4.

        :raises UserDisabled: if the account is not active.
        """
        account.require_active()
        name = str(uuid4())
        await self._ledger.create_prefix(account.user_id, name)
        return name

    async def check_prefix(self, account: Account, prefix: str) -> None:
        """Make sure that a prefix is the user's own.

        :raises NotOwner: if it is not, or does not exist.
        """
        state = await self._ledger.state(ObjectName(prefix, ""))
        if state is None:
            if not account.any_prefix:
                raise NotOwner
        else:
            check_owner(account, state.owner_id)

    async def find(self, name: ObjectName, request_id: str) -> ReadState:
        """Look an object up for a download, whoever asks.

        :raises ObjectNotFound: if there is none.
        :raises QuotaReached: if the owner's traffic of this month is used up.
        """
        while True:
            asked = self._traffic.moment()
            month = month_of(self._now())
            found = await self._ledger.find(name, month)
            if found is None:
                raise ObjectNotFound
            owner = await self._authenticator.account(found.owner_id, request_id)
            used = found.traffic + self._traffic.unwritten(asked, found.owner_id, month)
            if not traffic_exhausted(quota=owner.traffic_quota, used=used):
                return found
            if self._traffic.is_exact(asked):
                raise QuotaReached
            # Some may be counted twice, here and in the ledger.
            await self._traffic.settled()

    async def open(self, found: ReadState, start: int, length: int) -> IBlobReader:
        """Begin to read a part, at least one byte, of an object.

        :raises BlobNotFound: if the object was replaced or deleted, and its
            blob collected, since it was looked up: look again.
        """
        return await self._storage.open(found.stored.blob_key, start, length)

    def count_traffic(self, owner_id: int, traffic: int) -> None:
        """Count body bytes of an answer against the owner of the prefix."""
        self._traffic.add(owner_id, traffic)

    def record_download(self, owner_id: int, prefix: str, traffic: int) -> None:
        """Record a download that has ended, after this many body bytes."""
        self._record_usage(UsageEvent(owner_id, prefix, downloaded=traffic))

    async def delete(
        self, account: Account, name: ObjectName, conditions: Conditions
    ) -> None:
        """Delete an object, if it is there and the conditions hold.

        :raises NotOwner: if the prefix is not the user's.
        :raises PreconditionFailed: if a condition does not hold.
        """

        def decide(state: WriteState) -> None:
            check_owner(account, state.owner_id)
            conditions.check_change(state.etag)

        try:
            async with self._locks.hold(name):
                change = await self._ledger.delete(name, decide)
                if change is not None:
                    self._publish(ChangeEvent(name, None))
        except NotOwner:
            if not account.any_prefix:
                raise
            # The prefix would be taken over by writing below it; nothing is
            # there yet.
            conditions.check_change(None)
            return
        if change is not None:
            self._record_usage(
                UsageEvent(change.owner_id, name.prefix, freed=-change.grown)
            )
