"""Removes files below the storage directory for good. All calls block."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby

from qabel_block.storage.local import directory_fds
from qabel_block.storage.local.errors import NO_FILE

File = tuple[str, ...]
"""The names of the folders on the way to a file, and its own."""


def remove(root: str, files: Sequence[File]) -> None:
    """Remove files, and folders that are empty then.

    Those that are not there count as removed.

    :raises OSError: if one of them may still be there.
    """
    paths = {file[:-1] for file in files}
    for path, below in groupby(sorted(files, key=_folder_of), key=_folder_of):
        names = [file[-1] for file in below]
        _in_folder(root, path, partial(_unlink, names))
    # After all of them: what makes the first folder durable does so for the others,
    # on most file systems, and finds nothing left to do there.
    for path in paths:
        _in_folder(root, path, os.fsync)
    for path in paths:
        directory_fds.remove_empty(root, path)


def _in_folder(
    root: str, path: directory_fds.Path, function: Callable[[int], object]
) -> None:
    """Call ``function`` with a folder's descriptor, if it is there."""
    try:
        with directory_fds.DirectoryFds(root) as fds:
            function(fds.folder(path))
    except OSError as error:
        if error.errno not in NO_FILE:
            raise


def _unlink(names: Sequence[str], folder: int) -> None:
    for name in names:
        try:
            os.unlink(name, dir_fd=folder)
        except OSError as error:
            if error.errno not in NO_FILE:
                raise


def _folder_of(file: File) -> directory_fds.Path:
    return file[:-1]
