"""``qabel-block adopt``: what the legacy server has stored becomes objects.

A blob is entered in the ledger where it is, under the ETag that the legacy server
had for it, after it was read once for its SHA-256. Until all is adopted, the ledger
notes a path that is written or deleted before its blob's turn has come
(``unfinished`` in :mod:`qabel_block.ledger.schema`).
"""

from __future__ import annotations

from argparse import ArgumentParser

from qabel_block.cli.context import CommandContext, opened
from qabel_block.cli.importer import ImportChoice, Importer
from qabel_block.cli.reports import in_bytes
from qabel_block.cli.runner import ALL_WELL, FINDINGS
from qabel_block.model import (
    BlobRecord,
    BlobState,
    ImportedBlob,
    ListedBlob,
    WriteState,
)

HELP = (
    "Enter what the legacy server has stored in the ledger, where it is, and correct"
    " what users store. The server may run meanwhile."
)


def add_arguments(parser: ArgumentParser) -> None:
    """It has none of its own."""


async def adopt(job: CommandContext) -> int:
    """Adopt all that is below known prefixes; list what is not."""
    async with opened(job) as parts:
        await parts.inventory.begin_adoption()
        intake = Importer(job, parts, ImportChoice(_is_legacy, _is_unknown, _is_free))
        await intake.run("adopt")
        if not intake.unreadable:
            await parts.inventory.end_adoption()
        job.report.say(
            "adopted",
            f"{intake.entered:,} objects adopted ({in_bytes(intake.entered_bytes)});"
            f" {intake.known:,} were objects already;"
            f" {intake.left:,} were overwritten or deleted since",
            objects=intake.entered,
            bytes=intake.entered_bytes,
            known=intake.known,
            left=intake.left,
            findings=intake.findings,
        )
    return FINDINGS if intake.findings else ALL_WELL


def _is_legacy(blob: ListedBlob) -> bool:
    return blob.version is None


def _is_unknown(_blob: ListedBlob, known: BlobRecord) -> bool:
    return known.state is BlobState.UNKNOWN


def _is_free(target: WriteState, _entry: ImportedBlob) -> bool:
    """Adopt where there is no object; what is there is newer."""
    return target.current is None
