"""Maps errors of the file system to domain errors."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from qabel_block.errors import StorageFull, Unavailable

NO_FILE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR})
"""There is no such file, or it is none of ours."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def translate(error: OSError) -> StorageFull | Unavailable:
    """Return the domain's error for one of the file system."""
    if error.errno in _FULL:
        return StorageFull()
    return Unavailable("storage", reason_of(error))


@contextmanager
def translated() -> Iterator[None]:
    """Raise the domain's errors instead of the file system's."""
    try:
        yield
    except OSError as error:
        raise translate(error) from error


def reason_of(error: OSError) -> str:
    """Return what an error says, without the name of a file."""
    return error.strerror or type(error).__name__
