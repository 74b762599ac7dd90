"""Makes files durable under their final names, many in the time that one takes.

The order is what counts: the content of a file is durable before it has its name,
and nobody is told before the name is durable as well. Within that, many files
share the waiting: their content is on its way to the disk together, and each
folder is synced once. All calls block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from attrs import frozen

from qabel_block.storage.local.directory_fds import DirectoryFds, Path, ancestry
from qabel_block.storage.local.incoming import IncomingFile, start_writeback

MOST_FOLDERS = 100
"""Folders that a group of files keeps open, unless a single one needs more."""


@frozen
class SmallFile:
    """A file that is whole, but only in memory."""

    folder: Path
    name: str
    content: bytes


Outcome = OSError | None
"""What went wrong with one of the files."""


def _anywhere(_fds: DirectoryFds) -> None:
    pass


def store(
    root: str,
    files: Sequence[SmallFile],
    require: Callable[[DirectoryFds], None] = _anywhere,
) -> list[Outcome]:
    """Make files durable under their names; one that fails fails alone.

    :param require: called before anything is written; what it raises is raised.
    """
    outcomes: list[Outcome] = []
    for group in _groups(files):
        with DirectoryFds(root) as fds:
            require(fds)
            outcomes += _store(fds, group)
    return outcomes


def publish(root: str, file: IncomingFile, folder: Path, name: str) -> None:
    """Make one file durable under its name, and close it.

    :raises OSError: if that fails; the file may have its name all the same.
    """
    with DirectoryFds(root) as fds:
        try:
            file.sync()
            file.link(fds, folder, name)
            fds.sync([folder])
        finally:
            file.end(fds)


def _store(fds: DirectoryFds, files: Sequence[SmallFile]) -> list[Outcome]:
    outcomes: list[Outcome] = [None] * len(files)
    incoming: dict[int, IncomingFile] = {}

    def for_each(step: Callable[[int], None]) -> None:
        for n, outcome in enumerate(outcomes):
            if outcome is None:
                try:
                    step(n)
                except OSError as error:
                    outcomes[n] = error

    def write(n: int) -> None:
        incoming[n] = IncomingFile(fds)
        incoming[n].write(files[n].content)
        if len(files) > 1:
            start_writeback(incoming[n].descriptor)

    try:
        for_each(write)
        for_each(lambda n: incoming[n].sync())
        for_each(lambda n: incoming[n].link(fds, files[n].folder, files[n].name))
        try:
            fds.sync(
                file.folder
                for file, outcome in zip(files, outcomes, strict=True)
                if outcome is None
            )
        except OSError as error:
            outcomes = [outcome or error for outcome in outcomes]
    finally:
        for one in incoming.values():
            one.end(fds)
    return outcomes


def _groups(files: Sequence[SmallFile]) -> Iterator[list[SmallFile]]:
    group: list[SmallFile] = []
    folders: set[Path] = set()
    for file in files:
        more = folders.union(ancestry(file.folder))
        if group and len(more) > MOST_FOLDERS:
            yield group
            group, more = [], set(ancestry(file.folder))
        group.append(file)
        folders = more
    if group:
        yield group
