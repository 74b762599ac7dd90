"""Lists, stats and hashes blobs below the storage directory. All calls block."""

from __future__ import annotations

import os
import stat
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from hashlib import sha256
from itertools import groupby

from qabel_block.model import Digest, ListedBlob
from qabel_block.names import IDENTITY, is_prefix, parse_blob_key, shown
from qabel_block.storage.local import directory_fds
from qabel_block.storage.local.errors import NO_FILE, reason_of
from qabel_block.storage.local.layout import INCOMING, file_of, key_of

PIECE = 1024 * 1024
"""Bytes that are hashed at a time."""

OPEN_FOLDERS = 32
"""Levels of folders that a walk keeps open, with two descriptors each."""

_OWN = frozenset({IDENTITY, INCOMING})
_LOST_AND_FOUND = "lost+found"

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def prefixes(root: str) -> Generator[str, None, None]:
    """Return the folders in the root that are named like a prefix, and whatever
    else is named like one but no file."""
    with directory_fds.DirectoryFds(root) as way, os.scandir(way.folder()) as all_:
        for entry in all_:
            if is_prefix(entry.name) and not entry.is_file(follow_symlinks=False):
                yield entry.name


def strays(root: str) -> Generator[str, None, None]:
    """Return what else is in the root but empty folders and what is the storage's
    own, as text."""
    with directory_fds.DirectoryFds(root) as way, os.scandir(way.folder()) as all_:
        for entry in all_:
            if entry.name in _OWN or (
                is_prefix(entry.name) and not entry.is_file(follow_symlinks=False)
            ):
                continue
            if not _is_passed_by(entry.name, way.folder()):
                yield shown(entry.name)


def _is_passed_by(name: str, root: int) -> bool:
    """Say whether something in the root is an empty folder, or went away meanwhile."""
    try:
        folder = directory_fds.open_below(name, root)
    except FileNotFoundError:
        return True
    except OSError:
        # Every ext4 file system has a folder that only root may read.
        return name == _LOST_AND_FOUND
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is None
    finally:
        os.close(folder)


def blobs(root: str, prefix: str) -> Generator[ListedBlob | str, None, None]:
    """Return all files below a prefix, and as text what is no blob.

    Only the folders on the way to where the walk has come to are open, and of those
    no more than :data:`OPEN_FOLDERS`.
    """
    with ExitStack() as stack:
        opened = stack.enter_context(directory_fds.DirectoryFds(root)).folder()
        try:
            way = [_Folder((prefix,), opened)]
        except OSError as error:
            if error.errno not in NO_FILE:
                raise
            with suppress(FileNotFoundError):
                os.stat(prefix, dir_fd=opened, follow_symlinks=False)
                yield prefix  # no folder, but a link or the like
            return
        stack.callback(_close, way)
        while way:
            entry = next(way[-1].entries, None)
            if entry is None:
                way.pop().close()
                continue
            names = (*way[-1].names, entry.name)
            try:
                if not entry.is_dir(follow_symlinks=False):
                    yield _blob(names, entry.stat(follow_symlinks=False))
                elif len(way) < OPEN_FOLDERS:
                    way.append(_Folder(names, way[-1].descriptor))
                else:
                    yield from _deep_blobs(names, way[-1].descriptor)
            except OSError as error:
                if error.errno not in NO_FILE:
                    raise  # otherwise it went away meanwhile


def _deep_blobs(
    names: tuple[str, ...], parent: int
) -> Generator[ListedBlob | str, None, None]:
    """Return all files below a folder, one folder at a time being open.

    The names of folders that are still to be read are in memory: so far down there
    are few.

    :param parent: the descriptor of the folder that this one is in.
    """
    above = len(names) - 1
    waiting = [names]
    while waiting:
        names = waiting.pop()
        try:
            folder = _Folder(names, parent, above)
        except OSError as error:
            if error.errno not in NO_FILE:
                raise
            continue
        with closing(folder):
            for entry in folder.entries:
                below = (*names, entry.name)
                try:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(below)
                    else:
                        yield _blob(below, entry.stat(follow_symlinks=False))
                except OSError as error:
                    if error.errno not in NO_FILE:
                        raise


def stat_blobs(root: str, keys: Sequence[str]) -> dict[str, ListedBlob]:
    """See :meth:`IBlobListing.stat`."""
    found = {}
    for folder, key, last in _opened(root, keys):
        try:
            it = os.stat(last, dir_fd=folder, follow_symlinks=False)
        except OSError as error:
            if error.errno not in NO_FILE:
                raise
            continue
        if stat.S_ISREG(it.st_mode):
            found[key] = _listed(key, it)
    return found


def digests(root: str, blobs: Sequence[ListedBlob]) -> dict[str, Digest]:
    """See :meth:`IBlobListing.digests`."""
    listed = {blob.key: blob for blob in blobs}
    found = {}
    for folder, key, last in _opened(root, list(listed)):
        try:
            digest = _hashed(folder, last, listed[key])
        except OSError as error:
            if error.errno not in NO_FILE:
                found[key] = Digest(None, reason_of(error))
        else:
            if digest is not None:
                found[key] = Digest(digest)
    return found


class _Folder:
    """A folder that is being read.

    :param parent: the descriptor of a folder above it.
    :param above: how many of the names lead to that one.
    """

    def __init__(
        self, names: tuple[str, ...], parent: int, above: int | None = None
    ) -> None:
        self.names = names
        below = names[-1:] if above is None else names[above:]
        self.descriptor = directory_fds.open_far_below(below, parent)
        try:
            self.entries = os.scandir(self.descriptor)
        except OSError:
            os.close(self.descriptor)
            raise

    def close(self) -> None:
        self.entries.close()
        os.close(self.descriptor)


def _close(way: list[_Folder]) -> None:
    for folder in way:
        folder.close()


def _opened(root: str, keys: Sequence[str]) -> Iterator[tuple[int, str, str]]:
    """Return folder, key and file name of some blobs, folder by folder.

    Those whose folder is not there are left out.
    """
    files = [(*_split(file_of(key)), key) for key in keys]
    with directory_fds.DirectoryFds(root) as fds:
        opened = fds.folder()  # without the root itself nothing can be said
        for path, below in groupby(sorted(files), key=lambda file: file[0]):
            try:
                folder = directory_fds.open_far_below(path, opened)
            except OSError as error:
                if error.errno not in NO_FILE:
                    raise
                continue
            try:
                for _, last, key in below:
                    yield folder, key, last
            finally:
                os.close(folder)


def _split(file: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    return file[:-1], file[-1]


def _blob(names: tuple[str, ...], it: os.stat_result) -> ListedBlob | str:
    try:
        if stat.S_ISREG(it.st_mode):
            return _listed(key_of(names), it)
    except ValueError:
        pass
    return shown("/".join(names))


def _listed(key: str, it: os.stat_result) -> ListedBlob:
    name, version = parse_blob_key(key)
    # The legacy server's validator was the time of the last change.
    etag = None if version else f'"{it.st_mtime_ns}"'
    return ListedBlob(key, name, version, it.st_size, it.st_mtime, etag)


def _hashed(folder: int, name: str, blob: ListedBlob) -> str | None:
    """Return the SHA-256 of a file, ``None`` if it has another size or validator than
    it was listed with."""
    size = blob.size
    descriptor = os.open(name, _FILE, dir_fd=folder)
    try:
        digest = sha256()
        read = 0
        # One byte more than should be there would show.
        while piece := os.read(descriptor, min(PIECE, size - read + 1)):
            digest.update(piece)
            read += len(piece)
            if read > size:
                break
        same = _listed(blob.key, os.fstat(descriptor)).etag == blob.etag
        return digest.hexdigest() if read == size and same else None
    finally:
        os.close(descriptor)
