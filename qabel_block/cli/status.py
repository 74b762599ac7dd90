"""``qabel-block status``: what the server would need, asked without a server."""

from __future__ import annotations

import shutil
from collections.abc import Coroutine
from typing import Any

from attrs import define, evolve
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.internet.task import deferLater

from qabel_block.cli.check_config import accounts_kind, cache_kind
from qabel_block.cli.collect import due
from qabel_block.cli.commands import Implementation
from qabel_block.cli.context import PART_SIZE_FOR, CommandContext
from qabel_block.cli.reports import in_bytes
from qabel_block.cli.runner import ALL_WELL, FINDINGS, CommandFailed
from qabel_block.cli.server_config import server_config
from qabel_block.config.config import Config, LocalDirectory, TemporaryDirectory
from qabel_block.config.options import ACCOUNTS, BY_NAME, CACHE
from qabel_block.errors import BlockError, Unavailable
from qabel_block.factories import make_blob_counter, make_storage
from qabel_block.interfaces import ICache, INotifier
from qabel_block.ledger import migrate_check
from qabel_block.ledger.installation import InstallationRecord, read_installation
from qabel_block.ledger.maintenance import Maintenance
from qabel_block.operations.identity import IdentityCheck
from qabel_block.server.composition import (
    ServerParts,
    compose,
    make_cache,
    make_notifier,
)
from qabel_block.util.cancellation import shield

SECONDS = 10.0
"""How long each of them is waited for."""

CONNECTING_SECONDS = 3.0
"""How long Redis may take until it is connected to."""

_USED = (
    *("standalone", "psql-dsn", "local-storage"),
    *("s3-bucket", "s3-endpoint-url", "s3-region", "garbage-grace"),
    *(option.name for option in CACHE),
    *(option.name for option in ACCOUNTS if not option.name.startswith("first-")),
)
_OTHERS = tuple(name for name in BY_NAME if name not in (*_USED, "dummy"))


async def status(context: CommandContext) -> int:
    """Ask each dependency, and report it in one word and a reason.

    :raises CommandFailed: if the server would refuse its options.
    """
    config = server_config(context.arguments)
    if isinstance(config.storage, TemporaryDirectory):
        raise CommandFailed("a server with --dummy has nothing that can be asked")
    quiet = evolve(config, endpoints=(), metrics=None, usage_log=False)
    parts = compose(quiet, context.reactor)
    checks = _DependencyChecks(context, config, parts)
    parts.threads.start()
    await parts.database.start()
    try:
        await checks.report("database", checks.database())
        await checks.report("storage", checks.storage())
        await checks.report("cache", checks.cache())
        await checks.report("push", checks.push())
        await checks.report("accounts", checks.accounts())
        await checks.report("garbage", checks.garbage())
    finally:
        await parts.authenticator.close()
        await parts.database.close()
        await parts.storage.close()
        parts.threads.stop()
    return FINDINGS if checks.failed else ALL_WELL


@define
class _DependencyChecks:
    """Asks one dependency after the other.

    :ivar failed: how many could not be used.
    """

    _context: CommandContext
    _config: Config
    _parts: ServerParts
    failed: int = 0

    async def report(
        self, name: str, asking: Coroutine[Deferred[Any], Any, dict[str, object]]
    ) -> None:
        """Report what ``asking`` returns or raises."""
        try:
            waiting = shield(asking).addTimeout(SECONDS, self._context.reactor)
            facts = await waiting
        except (BlockError, TimedOut) as error:
            self.failed += 1
            reason = _reason(name, error)
            self._say(name, "failed", reason, {"reason": reason})
        else:
            shown = ", ".join(
                str(value) if key == "type" else f"{key} {value}"
                for key, value in facts.items()
            )
            self._say(name, "ok", shown, facts)

    async def database(self) -> dict[str, object]:
        """Return the revision of the schema."""
        await self._parts.database.check()
        ((revision, _),) = await self._parts.database.fetch(migrate_check.revision)
        return {"revision": revision}

    async def storage(self) -> dict[str, object]:
        """Return whose storage it is, and how much room there is on a disk."""
        chosen, transfers = self._config.storage, self._config.transfers
        context, threads = self._context, self._parts.threads
        storage = make_storage(
            chosen, transfers, PART_SIZE_FOR, threads, context.reactor
        )
        count_blobs = make_blob_counter(chosen, transfers, threads, context.reactor)
        record = InstallationRecord(self._parts.database)
        identity = IdentityCheck(record, storage, count_blobs)
        try:
            await identity.compare()
            facts: dict[str, object] = {
                "installation": await storage.identity() or "none yet"
            }
            if isinstance(chosen, LocalDirectory) and chosen.path.is_dir():
                usage = await threads.run(shutil.disk_usage, chosen.path)
                facts["free"] = in_bytes(usage.free)
            return facts
        finally:
            await storage.close()

    async def cache(self) -> dict[str, object]:
        """Return what the cache is, once an entry was set in it."""
        cache = make_cache(
            self._config, self._context.reactor, self._installation, _unheeded
        )
        await cache.start()
        return await self._once_connected(cache)

    async def push(self) -> dict[str, object]:
        """Return what push goes through, once a message has come back."""
        notifier = make_notifier(
            self._config, self._context.reactor, self._installation, _unheeded
        )
        notifier.start(self._parts.hub)
        return await self._once_connected(notifier)

    async def accounts(self) -> dict[str, object]:
        """Return who knows the users, once that could be asked."""
        await self._parts.authenticator.check()
        return {"type": accounts_kind(self._config)}

    async def garbage(self) -> dict[str, object]:
        """Return how many blobs wait to be deleted, and until when at the latest."""
        noted = await Maintenance(self._parts.database).noted_garbage()
        last = due(noted.newest, self._config.garbage_grace, self._context.now())
        return {"waiting": noted.count, **({"until": last} if last else {})}

    async def _once_connected(self, subject: ICache | INotifier) -> dict[str, object]:
        reactor = self._context.reactor
        until = reactor.seconds() + CONNECTING_SECONDS
        try:
            while True:
                try:
                    await subject.check()
                    return {"type": cache_kind(self._config)}
                except Unavailable:
                    if reactor.seconds() >= until:
                        raise
                await deferLater(reactor, 0.05)
        finally:
            await subject.close()

    async def _installation(self) -> str:
        """Return what the server's keys in Redis have in their names. The server does
        not connect before its storage has the id; here it matters to nobody."""
        try:
            rows = await self._parts.database.fetch(read_installation)
        except BlockError:
            rows = []
        return str(rows[0][0]) if rows else "status"

    def _say(self, name: str, word: str, shown: str, facts: dict[str, object]) -> None:
        self._context.report.say(
            "status",
            f"{name:<10}{word:<8}{shown}".rstrip(),
            name=name,
            status=word,
            **facts,
        )


def _reason(name: str, error: BlockError | TimedOut) -> str:
    if not isinstance(error, Unavailable):
        return str(error) or "no answer in time"
    if name in ("storage", "garbage") and error.dependency == "database":
        return f"the database: {error.reason}"
    return error.reason


def _unheeded() -> None:
    """Connections may come and go."""


COMMANDS = {"status": Implementation(status, _USED, others=_OTHERS)}
