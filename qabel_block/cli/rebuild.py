"""``qabel-block rebuild``: the objects as storage has them.

The newest blob of each path that is there becomes the object, whichever server wrote
it. For a ledger that was lost, or restored from a backup that is older than the blobs.
It deletes no blob, so it can be run again, and what it leaves is for ``verify``.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import AsyncIterator

from qabel_block.cli.commands import Implementation
from qabel_block.cli.context import CommandContext, CommandParts, open_parts
from qabel_block.cli.import_choice import ImportChoice
from qabel_block.cli.importer import Importer
from qabel_block.cli.locations import PLACES
from qabel_block.cli.reports import in_bytes
from qabel_block.cli.runner import ALL_WELL, FINDINGS, CommandFailed
from qabel_block.cli.unknown_prefixes import require_known_blobs
from qabel_block.model import LedgerObject, ListedBlob

MOST_DROPPED = 10
"""Not more than every tenth object is dropped or becomes an older blob, unless the
operator insists."""

UNKNOWABLE = (
    "An object that was deleted not long ago is back if its blob was still there.",
    "An upload that was refused or never answered is an object if its blob was"
    " complete.",
    "Which users, prefixes and repositories there were, and the traffic of the month,"
    " is as the ledger had it.",
)


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--force",
        action="store_true",
        help="Take the storage for the right one, and drop objects without a blob even"
        " if they are more than a tenth of all.",
    )


async def rebuild(context: CommandContext) -> int:
    """Enter the newest blob of each path, and drop objects of which there is none.

    :raises CommandFailed: if there are no prefixes, or too many blobs are missing.
    :raises WrongStorage: if it is not the ledger's storage.
    """
    async with open_parts(context) as parts:
        force = context.arguments.force
        await _check_prefixes(parts, force)
        identity = await parts.identity.compare_to_rebuild(force)
        importer = Importer(context, parts, ImportChoice(_any, older=True))
        await importer.run("rebuild")
        if await _count_missing(context, parts, force):
            # Only now: the disk may have been one that lacks what is new.
            await importer.replace_missing()
        await parts.identity.bind_to(identity)
        dropped = await _drop_objects_without_blob(context, parts)
        context.report.say(
            "rebuilt",
            f"{importer.entered:,} objects entered"
            f" ({in_bytes(importer.entered_bytes)});"
            f" {importer.known:,} were there already;"
            f" {dropped:,} without a blob dropped;"
            f" {importer.left:,} older blobs or garbage left",
            objects=importer.entered,
            bytes=importer.entered_bytes,
            known=importer.known,
            dropped=dropped,
            left=importer.left,
            findings=importer.findings,
        )
        for line in UNKNOWABLE:
            context.report.say("unknowable", f"can't be known: {line}", what=line)
    return FINDINGS if importer.findings else ALL_WELL


async def _check_prefixes(parts: CommandParts, force: bool) -> None:
    """Refuse what can only be a mistake."""
    if not await parts.maintenance.has_prefixes():
        raise CommandFailed(
            "the ledger knows no prefix: restore users and prefixes from a backup first"
        )
    if not force and await parts.maintenance.count_objects():
        await require_known_blobs(parts)


async def _count_missing(
    context: CommandContext, parts: CommandParts, force: bool
) -> int:
    """Return how many objects have no blob.

    :raises CommandFailed: if they are so many that a disk may be missing.
    """
    missing = total = 0
    async for objects, without_blob in _objects_without_blob(context, parts):
        total += len(objects)
        missing += len(without_blob)
    if missing * MOST_DROPPED > total and not force:
        raise CommandFailed(
            f"{missing:,} of {total:,} objects have no blob in this storage; none is"
            " dropped; if their blobs are lost for good, run it with --force"
        )
    return missing


async def _drop_objects_without_blob(
    context: CommandContext, parts: CommandParts
) -> int:
    count = 0
    async for _, missing in _objects_without_blob(context, parts):
        for one in await parts.maintenance.drop_objects(missing) if missing else []:
            count += 1
            _report_dropped(context, one)
    return count


async def _objects_without_blob(
    context: CommandContext, parts: CommandParts
) -> AsyncIterator[tuple[list[LedgerObject], list[LedgerObject]]]:
    """Return all objects, page by page, and of each page those without a blob."""
    total = await parts.maintenance.count_objects()
    context.progress.begin("look for blobs", "objects", total)
    async for objects in parts.maintenance.objects():
        found = await parts.listing.stat([one.blob_key for one in objects])
        yield objects, [one for one in objects if one.blob_key not in found]
        context.advance(len(objects))
    context.progress.end()


def _report_dropped(context: CommandContext, one: LedgerObject) -> None:
    context.report.say(
        "dropped",
        f"object without a blob, dropped: {one.name}",
        prefix=one.name.prefix,
        path=one.name.path,
        size=one.size,
    )


def _any(_blob: ListedBlob) -> bool:
    return True


COMMANDS = {"rebuild": Implementation(rebuild, PLACES, _add_arguments)}
