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
from contextlib import closing
from pathlib import Path

from qabel_block.cli.backup_target import BackupTarget
from qabel_block.cli.commands import Implementation
from qabel_block.cli.context import CommandContext, open_parts
from qabel_block.cli.locations import LEDGER_OPTIONS
from qabel_block.cli.reports import in_bytes
from qabel_block.cli.runner import ALL_WELL, FINDINGS, CommandFailed
from qabel_block.config.config import LocalDirectory, SqliteLedger
from qabel_block.model import ObjectName
from qabel_block.names import IDENTITY
from qabel_block.storage.local.layout import INCOMING
from qabel_block.storage.local.scan import stat_blobs

OBJECTS = 1000
"""Objects that are looked for in the copy at a time."""


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

    :raises CommandFailed: if ledger or storage is of another kind, the directory is
        not for this copy, or something can't be copied.
    :raises WrongStorage: if ledger and storage don't belong to each other.
    """
    ledger, storage = context.locations.ledger, context.locations.storage
    if not isinstance(ledger, SqliteLedger) or not isinstance(storage, LocalDirectory):
        raise CommandFailed(
            "backup is for a SQLite ledger and local storage; for others see"
            " docs/operating.md"
        )
    target = BackupTarget(context.arguments.into)
    try:
        target.refuse_original(ledger.path, storage.path)
        async with open_parts(context) as parts:
            installation = await parts.identity.compare()
        with target.hold(installation):
            files, size, findings = _copy(context, ledger.path, storage.path, target)
    except (OSError, sqlite3.Error) as error:
        raise CommandFailed(
            f"can't back up into {target.directory}: {error}"
        ) from error
    lacking = f"; {findings:,} objects lack their blob" if findings else ""
    context.report.say(
        "backup",
        f"{files:,} new blobs ({in_bytes(size)}) and the ledger copied into"
        f" {target.directory}{lacking}",
        blobs=files,
        bytes=size,
        directory=str(target.directory),
        findings=findings,
    )
    return FINDINGS if findings else ALL_WELL


def _copy(
    context: CommandContext, ledger: Path, storage: Path, target: BackupTarget
) -> tuple[int, int, int]:
    """Copy all; return how many blobs and bytes were new, and how many objects of the
    copy lack their blob."""
    copied = _copy_blobs(context, storage, target)
    with target.new_file(target.directory) as new_ledger:
        _copy_ledger(ledger, new_ledger)
        more = _copy_blobs(context, storage, target)
        findings = _check(context, new_ledger, target.objects)
        # The older copy is whole until all that the new ledger needs is durable.
        os.sync()
        target.replace_ledger(new_ledger)
    os.sync()
    return copied[0] + more[0], copied[1] + more[1], findings


def _copy_blobs(
    context: CommandContext, source: Path, target: BackupTarget
) -> tuple[int, int]:
    """Copy what is not in the copy yet; return how many blobs and bytes that was."""
    files = size = 0
    context.progress.begin("copy", "files")
    # First of all: a backup that breaks off shall be known for whose it is.
    _copy_new(source / IDENTITY, target.objects / IDENTITY, target)
    for relative in _files(source, Path()):
        new = _copy_new(source / relative, target.objects / relative, target)
        if new is not None:
            files += 1
            size += new
        context.advance(1)
    context.progress.end()
    return files, size


def _files(root: Path, relative: Path) -> Iterator[Path]:
    """Return all files below a directory but uploads under way and the identity."""
    try:
        entries = list(os.scandir(root / relative))
    except FileNotFoundError:
        return
    for entry in entries:
        name = relative / entry.name
        if entry.is_dir(follow_symlinks=False):
            if name != Path(INCOMING):
                yield from _files(root, name)
        elif entry.is_file(follow_symlinks=False) and name != Path(IDENTITY):
            yield name


def _copy_new(source: Path, copy: Path, target: BackupTarget) -> int | None:
    """Copy a file; return its bytes, or ``None`` if it is in the copy already or is
    gone: what the collector has deleted meanwhile nothing needs."""
    try:
        content = source.open("rb")
    except FileNotFoundError:
        return None
    with content:
        status = os.fstat(content.fileno())
        if _is_copied(status, copy):
            return None
        copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with target.new_file(target.objects) as unfinished:
            with unfinished.open("wb") as new:
                shutil.copyfileobj(content, new, 1024 * 1024)
                new.flush()
                os.fsync(new.fileno())
            os.utime(unfinished, ns=(status.st_atime_ns, status.st_mtime_ns))
            unfinished.replace(copy)
    return status.st_size


def _is_copied(status: os.stat_result, copy: Path) -> bool:
    try:
        there = copy.stat()
    except FileNotFoundError:
        return False
    wanted = (status.st_size, status.st_mtime_ns)
    return (there.st_size, there.st_mtime_ns) == wanted


def _copy_ledger(source: Path, target: Path) -> None:
    uri = f"{source.as_uri()}?mode=rw"
    with closing(sqlite3.connect(uri, uri=True, timeout=60)) as connection:
        # Nobody else knows of the file, and not every file system has locks.
        connection.execute("VACUUM INTO ?", (f"{target.as_uri()}?nolock=1",))
    with target.open("rb") as copy:
        os.fsync(copy.fileno())


def _check(context: CommandContext, ledger: Path, objects: Path) -> int:
    """Report the objects of a copied ledger whose blob is not in the copy, whole;
    return how many there are."""
    findings = 0
    context.progress.begin("check", "objects")
    uri = f"{ledger.as_uri()}?immutable=1"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        rows = connection.execute("SELECT prefix, path, blob_key, size FROM objects")
        while page := rows.fetchmany(OBJECTS):
            found = stat_blobs(str(objects), [key for _, _, key, _ in page])
            for prefix, path, key, size in page:
                blob = found.get(key)
                if blob is not None and blob.size == size:
                    continue
                findings += 1
                name = ObjectName(prefix, path)
                if blob is None:
                    kind, text, facts = "missing-blob", "missing blob", {}
                else:
                    kind, facts = "wrong-size", {"size": blob.size}
                    text = f"blob of {blob.size:,} bytes instead of {size:,}"
                context.report.say(kind, f"{text}: {name}", **name.record(), **facts)
            context.advance(len(page))
    context.progress.end()
    return findings


COMMANDS = {
    "backup": Implementation(backup, (*LEDGER_OPTIONS, "local-storage"), _add_arguments)
}
