"""Tells prefixes that the ledger knows from those that nobody owns."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing

from qabel_block.cli.context import CommandParts
from qabel_block.cli.runner import CommandFailed


async def split_known(
    parts: CommandParts, prefixes: Sequence[str]
) -> tuple[set[str], list[str]]:
    """Return the listed prefixes that the ledger knows, and those that it does not,
    empty folders left out, which some stores list for a while."""
    known = await parts.maintenance.known_prefixes(prefixes)
    strange = [prefix for prefix in prefixes if prefix not in known]
    return known, [prefix for prefix in strange if not await _is_empty(parts, prefix)]


async def require_known_blobs(parts: CommandParts) -> None:
    """Take a storage without anything below any known prefix for the wrong one.

    :raises CommandFailed: if it is one.
    :raises Unavailable: if it is not there.
    """
    async for names in parts.listing.prefixes():
        for name in await parts.maintenance.known_prefixes(names):
            if not await _is_empty(parts, name):
                return
    raise CommandFailed(
        "storage holds nothing below any known prefix: is it the right one? if it is,"
        " run it with --force"
    )


async def _is_empty(parts: CommandParts, prefix: str) -> bool:
    async with aclosing(parts.listing.blobs(prefix)) as pages:
        async for page in pages:
            if page.blobs or page.strays:
                return False
    return True
