"""Walks below the storage directory without ever leaving it.

Every step is relative to an open directory and follows no symbolic link, so
whatever somebody puts there, nothing outside is touched. All calls block.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def opened(root: str, names: Sequence[str]) -> Iterator[list[int]]:
    """Open the root and the folders below it, one in the other.

    :return: their descriptors, the root's first.
    :raises OSError: if one of them is not there, or is no directory.
    """
    descriptors: list[int] = []
    try:
        # The root itself may be a link: it is the operator's word.
        descriptors.append(os.open(root, _DIRECTORY & ~os.O_NOFOLLOW))
        for name in names:
            descriptors.append(os.open(name, _DIRECTORY, dir_fd=descriptors[-1]))
        yield descriptors
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def make(root: str, names: Sequence[str]) -> None:
    """Make folders below the root that are not there yet. Like files, a group may
    read them if the umask lets it: nginx may be in it."""
    for depth, name in enumerate(names):
        with opened(root, names[:depth]) as descriptors, suppress(FileExistsError):
            os.mkdir(name, 0o750, dir_fd=descriptors[-1])


def sync(descriptors: Sequence[int]) -> None:
    """Make the entries of folders durable, the innermost first.

    All of them, since a folder may have been made a moment ago by another
    process that has not made it durable yet. One that is clean costs little.
    """
    for descriptor in reversed(descriptors):
        os.fsync(descriptor)


def remove_empty(root: str, names: Sequence[str]) -> None:
    """Remove folders that are empty, the innermost first, but not the root."""
    for depth in range(len(names), 0, -1):
        try:
            with opened(root, names[: depth - 1]) as descriptors:
                os.rmdir(names[depth - 1], dir_fd=descriptors[-1])
        except FileNotFoundError:
            continue
        except OSError:
            return  # somebody needs it
