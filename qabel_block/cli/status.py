"""``qabel-block status``: what the server would need, asked without a server."""

from __future__ import annotations

import shutil
from argparse import ArgumentParser
from collections.abc import Coroutine
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TimedOut

from qabel_block.cli.context import PART_SIZE_FOR, CommandContext
from qabel_block.cli.reports import in_bytes
from qabel_block.cli.runner import ALL_WELL, FINDINGS
from qabel_block.cli.server_config import server_config
from qabel_block.config.config import LocalDirectory
from qabel_block.config.options import BY_NAME
from qabel_block.errors import BlockError
from qabel_block.factories import make_blob_counter, make_storage
from qabel_block.ledger import migrate_check
from qabel_block.ledger.installation import InstallationRecord
from qabel_block.ledger.maintenance import Maintenance
from qabel_block.operations.identity import IdentityCheck
from qabel_block.server.composition import ServerParts, compose
from qabel_block.util.cancellation import shield

HELP = (
    "Say whether database, storage, cache and accounts can be used, and how much"
    " garbage waits. No server has to run, and nothing is changed."
)
OPTIONS = tuple(name for name in BY_NAME if name != "dummy")

SECONDS = 10.0
"""How long each of them is waited for."""


def add_arguments(parser: ArgumentParser) -> None:
    """It has none of its own."""


async def status(context: CommandContext) -> int:
    """Ask each dependency, and report it in one word and a reason."""
    config = server_config(context.arguments)
    quiet = evolve(config, endpoints=(), metrics=None, usage_log=False)
    parts = compose(quiet, context.reactor)
    checks = _DependencyChecks(context, parts)
    parts.threads.start()
    await parts.database.start()
    await parts.cache.start()
    try:
        await checks.report("database", checks.database())
        await checks.report("storage", checks.storage())
        await checks.report("cache", _checked(parts.cache.check()))
        await checks.report("accounts", _checked(parts.authenticator.check()))
        await checks.report("garbage", checks.garbage())
    finally:
        await parts.authenticator.close()
        await parts.cache.close()
        await parts.database.close()
        await parts.storage.close()
        parts.threads.stop()
    return FINDINGS if checks.failed else ALL_WELL


class _DependencyChecks:
    """Asks one dependency after the other.

    :ivar failed: how many could not be used.
    """

    def __init__(self, context: CommandContext, parts: ServerParts) -> None:
        self._context = context
        self._parts = parts
        self.failed = 0

    async def report(
        self, name: str, asking: Coroutine[Deferred[Any], Any, dict[str, object]]
    ) -> None:
        """Report what ``asking`` returns or raises."""
        try:
            waiting = shield(asking).addTimeout(SECONDS, self._context.reactor)
            facts = await waiting
        except (BlockError, TimedOut) as error:
            self.failed += 1
            reason = getattr(error, "reason", None) or "no answer in time"
            self._say(name, "failed", reason, {"reason": reason})
        else:
            shown = ", ".join(f"{key} {value}" for key, value in facts.items())
            self._say(name, "ok", shown, facts)

    async def database(self) -> dict[str, object]:
        """Return the revision of the schema."""
        await self._parts.database.check()
        ((revision,),) = await self._parts.database.fetch(migrate_check.revision)
        return {"revision": revision}

    async def storage(self) -> dict[str, object]:
        """Return whose storage it is, and how much room there is on a disk."""
        chosen = self._context.locations.storage
        context, threads = self._context, self._parts.threads
        transfers = context.locations.transfers
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

    async def garbage(self) -> dict[str, object]:
        """Return how many blobs wait to be deleted."""
        maintenance = Maintenance(self._parts.database)
        return {"waiting": await maintenance.count_garbage(0)}

    def _say(self, name: str, word: str, shown: str, facts: dict[str, object]) -> None:
        self._context.report.say(
            "status",
            f"{name:<10}{word:<8}{shown}".rstrip(),
            name=name,
            status=word,
            **facts,
        )


async def _checked(
    checking: Coroutine[Deferred[Any], Any, None],
) -> dict[str, object]:
    await checking
    return {}
