"""Finds what storage holds below prefixes that nobody owns."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing

from qabel_block.cli.context import CommandParts


async def split_known(
    parts: CommandParts, prefixes: Sequence[str]
) -> tuple[set[str], list[str]]:
    """Return the listed prefixes that the ledger knows, and those that it does not,
    empty folders left out, which some stores list for a while."""
    known = await parts.maintenance.known_prefixes(prefixes)
    strange = [prefix for prefix in prefixes if prefix not in known]
    return known, [prefix for prefix in strange if not await _is_empty(parts, prefix)]


async def _is_empty(parts: CommandParts, prefix: str) -> bool:
    async with aclosing(parts.listing.blobs(prefix)) as pages:
        async for page in pages:
            if page.blobs or page.strays:
                return False
    return True
