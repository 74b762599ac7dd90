"""``qabel-block backup``: a SQLite ledger and local storage, copied in the right order.

Blobs never change, and the server keeps those that were replaced for a while. So
what the copied ledger points at is in the copy of the storage if that was brought up
to date shortly after.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from qabel_block.cli.commands import Implementation
from qabel_block.cli.context import CommandContext, open_parts
from qabel_block.cli.locations import LEDGER_OPTIONS
from qabel_block.cli.reports import in_bytes
from qabel_block.cli.runner import ALL_WELL, CommandFailed
from qabel_block.config.config import LocalDirectory, SqliteLedger
from qabel_block.storage.local.layout import INCOMING

LEDGER = "ledger.sqlite"
OBJECTS = "objects"
UNFINISHED = ".backup"
"""The name of a file that is not whole yet."""


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--into",
        metavar="DIR",
        type=Path,
        required=True,
        help="Where the copy is kept. It is made if its parent exists.",
    )


async def backup(context: CommandContext) -> int:
    """Copy the blobs, then the ledger, then the blobs that came meanwhile.

    :raises CommandFailed: if ledger or storage is of another kind, or something
        can't be copied.
    """
    ledger, storage = context.locations.ledger, context.locations.storage
    if not isinstance(ledger, SqliteLedger) or not isinstance(storage, LocalDirectory):
        raise CommandFailed(
            "backup is for a SQLite ledger and local storage; for others see"
            " docs/operating.md"
        )
    into = context.arguments.into.absolute()
    if into.is_relative_to(storage.path):
        raise CommandFailed("the backup can't be kept within the storage")
    async with open_parts(context) as parts:
        await parts.identity.compare()
    try:
        (into / OBJECTS).mkdir(mode=0o700, exist_ok=True, parents=into.parent.is_dir())
        copied = _copy_blobs(context, storage.path, into / OBJECTS)
        _copy_ledger(ledger.path, into / LEDGER)
        more = _copy_blobs(context, storage.path, into / OBJECTS)
        os.sync()
    except (OSError, sqlite3.Error) as error:
        raise CommandFailed(f"can't back up into {into}: {error}") from error
    files, size = copied[0] + more[0], copied[1] + more[1]
    context.report.say(
        "backup",
        f"{files:,} new blobs ({in_bytes(size)}) and the ledger copied into {into}",
        blobs=files,
        bytes=size,
        directory=str(into),
    )
    return ALL_WELL


def _copy_blobs(context: CommandContext, source: Path, target: Path) -> tuple[int, int]:
    """Copy what is not in the copy yet; return how many files and bytes that was."""
    files = size = 0
    context.progress.begin("copy", "files")
    for entry, relative in _files(source, Path()):
        # The collector may have deleted it meanwhile: then nothing needs it.
        with suppress(FileNotFoundError):
            if _copy_new(entry, source / relative, target / relative):
                files += 1
                size += entry.stat().st_size
        context.advance(1)
    context.progress.end()
    return files, size


def _files(root: Path, relative: Path) -> Iterator[tuple[os.DirEntry[str], Path]]:
    """Return all files below a directory, but for uploads under way."""
    try:
        entries = list(os.scandir(root / relative))
    except FileNotFoundError:
        return
    for entry in entries:
        name = relative / entry.name
        if entry.is_dir(follow_symlinks=False):
            if name != Path(INCOMING):
                yield from _files(root, name)
        elif entry.is_file(follow_symlinks=False):
            yield entry, name


def _copy_new(entry: os.DirEntry[str], source: Path, target: Path) -> bool:
    status = entry.stat(follow_symlinks=False)
    with suppress(FileNotFoundError):
        there = target.stat()
        if (there.st_size, there.st_mtime_ns) == (status.st_size, status.st_mtime_ns):
            return False
    with source.open("rb") as content:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = target.parent / UNFINISHED
        with unfinished.open("wb") as copy:
            shutil.copyfileobj(content, copy, 1024 * 1024)
            copy.flush()
            os.fchmod(copy.fileno(), 0o600)
            os.fsync(copy.fileno())
    os.utime(unfinished, ns=(status.st_atime_ns, status.st_mtime_ns))
    unfinished.replace(target)
    return True


def _copy_ledger(source: Path, target: Path) -> None:
    unfinished = target.with_name(UNFINISHED)
    unfinished.unlink(missing_ok=True)
    uri = f"{source.as_uri()}?mode=rw"
    with closing(sqlite3.connect(uri, uri=True, timeout=60)) as connection:
        connection.execute("VACUUM INTO ?", (str(unfinished),))
    unfinished.chmod(0o600)
    with unfinished.open("rb") as copy:
        os.fsync(copy.fileno())
    # What a server has left that was started on an older copy.
    for suffix in ("-wal", "-shm"):
        target.with_name(target.name + suffix).unlink(missing_ok=True)
    unfinished.replace(target)


COMMANDS = {
    "backup": Implementation(backup, (*LEDGER_OPTIONS, "local-storage"), _add_arguments)
}
