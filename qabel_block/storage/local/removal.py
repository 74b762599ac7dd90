"""Removes files below the storage directory. All calls block."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby

from qabel_block.storage.local import directory_fds
from qabel_block.storage.local.errors import NO_FILE

File = tuple[str, ...]
"""The names of the folders on the way to a file, and its own."""


def remove(root: str, files: Sequence[File]) -> dict[File, OSError]:
    """Remove files, and folders that are empty then.

    Those that are not there count as removed.

    :return: for each file that may still be there, why.
    """
    failures: dict[File, OSError] = {}
    folders = {
        path: list(below)
        for path, below in groupby(sorted(files, key=_folder_of), key=_folder_of)
    }
    for path, below in folders.items():
        _in_folder(root, path, below, partial(_unlink, below, failures), failures)
    # After all of them: what makes the first folder durable does so for the others,
    # on most file systems, and finds nothing left to do there.
    for path, below in folders.items():
        _in_folder(root, path, below, directory_fds.sync_directory, failures)
    for path in folders:
        _remove_empty(root, path)
    return failures


def _in_folder(
    root: str,
    path: directory_fds.Path,
    files: Sequence[File],
    function: Callable[[int], object],
    failures: dict[File, OSError],
) -> None:
    """Call ``function`` with a folder's descriptor, if it is there.

    :param files: those that may still be there if that fails.
    """
    try:
        with directory_fds.DirectoryFds(root) as fds:
            function(fds.folder(path))
    except OSError as error:
        if error.errno not in NO_FILE:
            failures.update(dict.fromkeys(files, error))


def _unlink(files: Sequence[File], failures: dict[File, OSError], folder: int) -> None:
    for file in files:
        try:
            os.unlink(file[-1], dir_fd=folder)
        except OSError as error:
            if error.errno not in NO_FILE:
                failures[file] = error


def _folder_of(file: File) -> directory_fds.Path:
    return file[:-1]


def _remove_empty(root: str, path: directory_fds.Path) -> None:
    """Remove folders that are empty, the innermost first, but not the root."""
    for above in reversed(directory_fds.ancestry(path)[1:]):
        try:
            with directory_fds.DirectoryFds(root) as fds:
                os.rmdir(above[-1], dir_fd=fds.folder(above[:-1]))
        except FileNotFoundError:
            continue
        except OSError:
            return  # somebody needs it
