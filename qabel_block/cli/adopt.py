"""``qabel-block adopt``: what the legacy server has stored becomes objects.

A blob is entered in the ledger where it is, under the ETag that the legacy server
had for it, after it was read once for its SHA-256. Until all is adopted, the ledger
notes a path that is written or deleted before its blob's turn has come
(``unfinished`` in :mod:`qabel_block.ledger.schema`).
"""

from __future__ import annotations

from argparse import ArgumentParser

from qabel_block.cli.commands import Implementation
from qabel_block.cli.context import CommandContext, open_parts
from qabel_block.cli.import_choice import ImportChoice
from qabel_block.cli.importer import Importer
from qabel_block.cli.locations import PLACES
from qabel_block.cli.reports import in_bytes
from qabel_block.cli.runner import ALL_WELL, FINDINGS
from qabel_block.cli.unknown_prefixes import require_known_blobs
from qabel_block.model import ListedBlob


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--force",
        action="store_true",
        help="Take the storage for the right one though it holds nothing.",
    )


async def adopt(context: CommandContext) -> int:
    """Adopt all that is below known prefixes; list what is not.

    :raises CommandFailed: if there is nothing below any of them.
    :raises WrongStorage: if it is not the ledger's storage.
    """
    async with open_parts(context) as parts:
        await parts.identity.compare()
        if not context.arguments.force and await parts.maintenance.has_prefixes():
            # Before anything is written: a disk may not be mounted.
            await require_known_blobs(parts)
        await parts.identity.bind()
        await parts.maintenance.begin_adoption()
        importer = Importer(context, parts, ImportChoice(_is_legacy))
        await importer.run("adopt")
        if not importer.unreadable:
            await parts.maintenance.end_adoption()
        context.report.say(
            "adopted",
            f"{importer.entered:,} objects adopted"
            f" ({in_bytes(importer.entered_bytes)});"
            f" {importer.known:,} were objects already;"
            f" {importer.left:,} were overwritten or deleted since",
            objects=importer.entered,
            bytes=importer.entered_bytes,
            known=importer.known,
            left=importer.left,
            findings=importer.findings,
        )
    return FINDINGS if importer.findings else ALL_WELL


def _is_legacy(blob: ListedBlob) -> bool:
    return blob.version is None


COMMANDS = {"adopt": Implementation(adopt, PLACES, _add_arguments)}
