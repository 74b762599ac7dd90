"""Deletes all that is below a prefix, its blobs at once, where the user wants that."""

from __future__ import annotations

import sys

from attrs import define

from qabel_block.cli.context import CommandContext, CommandParts
from qabel_block.cli.runner import CommandFailed
from qabel_block.ledger.erasure import Erasure


@define
class ErasedTotal:
    """How much was deleted."""

    objects: int = 0
    size: int = 0


def confirm(question: str, yes: bool) -> None:
    """Ask whoever is at the terminal, who has to type ``yes``.

    :param yes: whether that was said already.
    :raises CommandFailed: if the answer is another, or nobody can be asked.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandFailed("nothing is deleted without --yes")
    sys.stderr.write(f"{question} Type yes to do so: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip() != "yes":
        raise CommandFailed("nothing is deleted")


async def erase_prefix(
    context: CommandContext, parts: CommandParts, prefix: str
) -> ErasedTotal:
    """Delete a prefix with all objects, whose blobs don't wait for the collector.

    :raises Interrupted: between two steps, if there was a signal; what is left is
        deleted when it is done again.
    """
    erasure, total = Erasure(parts.database), ErasedTotal()
    while (erased := await erasure.erase_some(prefix)).keys:
        await parts.storage.delete(erased.keys)
        await parts.ledger.forget_garbage(erased.keys)
        total.objects += len(erased.keys)
        total.size += erased.size
        context.advance(len(erased.keys))
    return total
