"""Blobs as files in a local directory."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from twisted.logger import Logger
from zope.interface import implementer

from qabel_block.errors import BlobNotFound, StorageFull, Unavailable
from qabel_block.interfaces import (
    IBlobWriter,
    IFileBlobReader,
    IStorageBackend,
)
from qabel_block.storage.local import directory_fds
from qabel_block.storage.local.atomic_write import (
    Outcome,
    SmallFile,
    publish,
    store,
)
from qabel_block.storage.local.errors import NO_FILE, reason_of, translate, translated
from qabel_block.storage.local.identity import IdentityFile
from qabel_block.storage.local.incoming import IncomingFile, sweep
from qabel_block.storage.local.layout import INCOMING, file_of
from qabel_block.storage.local.page_cache import PageCache
from qabel_block.storage.local.removal import remove
from qabel_block.storage.local.reserve import Reserve
from qabel_block.util.batching import BatchQueue
from qabel_block.util.threads import ThreadPool

log = Logger()

IN_MEMORY = 64 * 1024
"""Bytes of an upload that are kept in memory before there is a file, so that a
small one costs one call of a thread, and a refused one never touches the disk."""

PIECE = 256 * 1024
"""Bytes read at a time: enough that handing them over costs little, and little
enough that many downloads fit into memory."""

FIRST_PIECE = 64 * 1024
"""Bytes of the first piece, if it is in memory: it is on its way with the head of the
answer before the kernel can send what follows, without a copy."""

NO_SPACE = "there is no space left beside the reserve"


@implementer(IStorageBackend)
class LocalStorage:
    """Keeps each blob as a file (:mod:`qabel_block.storage.local.layout`).

    Many processes may use one directory.

    :param root: the directory; ``bind`` makes it if its parent exists. If it is gone
        later, its disk is not mounted.
    :param page_cache: what can be read without a thread.
    :param reserve: bytes that uploads leave free; ``None`` for the default.
    """

    def __init__(
        self,
        root: str | Path,
        threads: ThreadPool,
        page_cache: PageCache | None = None,
        reserve: int | None = None,
    ) -> None:
        self._root = str(root)
        self._threads = threads
        self._identity = IdentityFile(self._root)
        self._reserve = Reserve(reserve, time.monotonic)
        self._probed = False
        self._bound = False
        self._real_root = b""
        self._page_cache = page_cache or PageCache(PIECE)
        self._small_files = BatchQueue(self._store)

    async def identity(self) -> str | None:
        """See :meth:`IStorageBackend.identity`."""
        return await self._threads.run(self._read_identity)

    async def bind(self, installation: str) -> None:
        """See :meth:`IStorageBackend.bind`."""
        count = await self._threads.run(self._bind, installation)
        if count:
            log.info("removed {count} unfinished uploads", count=count)

    async def create(self, key: str) -> LocalWriter:
        """See :meth:`IStorageBackend.create`."""
        names = file_of(key)
        self._require_bound()
        return LocalWriter(
            self._root, names, self._threads, self._small_files, self._require
        )

    async def open(self, key: str, start: int, length: int) -> LocalReader:
        """See :meth:`IStorageBackend.open`."""
        names = file_of(key)
        self._require_bound()
        reader = LocalReader(self._threads, self._page_cache, start, length)
        if not reader.begin_in_memory(self._path_of(names)):
            await self._threads.run(reader.begin, self._root, names, self._identity)
        return reader

    async def delete(self, keys: Sequence[str]) -> dict[str, str]:
        """See :meth:`IStorageBackend.delete`."""
        files = {file_of(key): key for key in keys}
        self._require_bound()
        failures = await self._threads.run(self._delete, list(files))
        return {files[file]: reason_of(error) for file, error in failures.items()}

    async def check(self) -> None:
        """See :meth:`IStorageBackend.check`."""
        self._require_bound()
        await self._threads.run(self._check_room)

    async def close(self) -> None:
        """See :meth:`IStorageBackend.close`."""

    async def _store(self, files: Sequence[SmallFile]) -> list[Exception | None]:
        outcomes = await self._threads.run(self._store_in_thread, files)
        return [error and translate(error) for error in outcomes]

    def _store_in_thread(self, files: Sequence[SmallFile]) -> list[Outcome]:
        with translated():
            size = sum(len(file.content) for file in files)
            return store(self._root, files, lambda fds: self._require(fds, size))

    def _require(self, fds: directory_fds.DirectoryFds, size: int) -> None:
        """Find out whether some bytes may be written here; in a thread."""
        self._identity.require(fds)
        self._reserve.require(fds.folder(), size)

    def _require_bound(self) -> None:
        if not self._bound:
            raise Unavailable("storage", "it is not known yet whose it is")

    def _path_of(self, names: tuple[str, ...]) -> bytes:
        return b"%s/%s" % (self._real_root, "/".join(names).encode("ascii"))

    def _read_identity(self) -> str | None:
        with translated():
            return self._identity.read()

    def _bind(self, installation: str) -> int:
        with translated():
            self._identity.bind(installation, self._make_directories)
            if self._bound:
                return 0
            # The operator's own links are followed once, here.
            self._real_root = os.fsencode(os.path.realpath(self._root))
            self._bound = True
            return sweep(self._root)

    def _make_directories(self) -> None:
        root = os.path.abspath(self._root)
        _make_durably(os.path.dirname(root), os.path.basename(root))
        _make_durably(root, INCOMING)

    def _delete(
        self, files: Sequence[tuple[str, ...]]
    ) -> dict[tuple[str, ...], OSError]:
        with translated():
            self._identity.require_again()
        return remove(self._root, files)

    def _check(self) -> None:
        with translated(), directory_fds.DirectoryFds(self._root) as fds:
            self._require(fds, PIECE)
            probe = IncomingFile(fds)
            try:
                probe.write(b"\0")
                if not self._probed:
                    # As uploads do: not every file system can do all of it.
                    probe.sync()
                    probe.try_link(fds)
                    self._probed = True
            finally:
                probe.end(fds)

    def _check_room(self) -> None:
        try:
            self._check()
        except StorageFull as error:
            raise Unavailable("storage", NO_SPACE) from error


def _make_durably(parent: str, name: str) -> None:
    if not os.path.isdir(os.path.join(parent, name)):
        with directory_fds.DirectoryFds(parent) as fds:
            fds.make((name,))
            fds.sync([()])


@implementer(IBlobWriter)
class LocalWriter:
    """A file on its way to its name.

    :param require: finds out whether some bytes may be written below the directory.
    :param small_files: where those are stored together that fit into memory.
    """

    def __init__(
        self,
        root: str,
        names: tuple[str, ...],
        threads: ThreadPool,
        small_files: BatchQueue[SmallFile, None],
        require: Callable[[directory_fds.DirectoryFds, int], None],
    ) -> None:
        self._root = root
        *folder, self._name = names
        self._folder = tuple(folder)
        self._threads = threads
        self._small_files = small_files
        self._require = require
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._file: IncomingFile | None = None

    async def write(self, data: bytes) -> None:
        """See :meth:`IBlobWriter.write`."""
        self._pending.append(data)
        self._pending_bytes += len(data)
        if self._pending_bytes > IN_MEMORY:
            await self._threads.run(self._flush)

    async def finish(self) -> None:
        """See :meth:`IBlobWriter.finish`."""
        if self._file is None:
            content = b"".join(self._pending)
            await self._small_files.ask(SmallFile(self._folder, self._name, content))
        else:
            await self._threads.run(self._publish)

    async def abort(self) -> None:
        """See :meth:`IBlobWriter.abort`."""
        self._pending.clear()
        if self._file is not None:
            await self._threads.run(self._discard)

    def _flush(self) -> IncomingFile:
        with translated():
            with directory_fds.DirectoryFds(self._root) as fds:
                self._require(fds, self._pending_bytes)
                if self._file is None:
                    self._file = IncomingFile(fds)
            for data in self._pending:
                self._file.write(data)
            self._pending.clear()
            self._pending_bytes = 0
            return self._file

    def _publish(self) -> None:
        file = self._flush()
        self._file = None
        with translated():
            publish(self._root, file, self._folder, self._name)

    def _discard(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with directory_fds.DirectoryFds(self._root) as fds:
                file.end(fds)


@implementer(IFileBlobReader)
class LocalReader:
    """A file on its way to a client. The file may be deleted meanwhile.

    What the kernel has in memory is read at once, anything else in a thread.
    """

    def __init__(
        self, threads: ThreadPool, page_cache: PageCache, start: int, length: int
    ) -> None:
        self._threads = threads
        self._page_cache = page_cache
        self._next = start
        self._end = start + length
        self._descriptor: int | None = None
        self._first = b""

    def begin_in_memory(self, path: bytes) -> bool:
        """Open the file and read the first piece, if that takes no waiting; close it
        again if that is all.

        :return: whether it is done; if not, nothing is.
        """
        self._descriptor = self._page_cache.open(path)
        if self._descriptor is None:
            return False
        self._first = self._read_in_memory(FIRST_PIECE)
        if not self._first or self._next == self._end:
            self._close()
        return bool(self._first)

    def begin(self, root: str, names: tuple[str, ...], identity: IdentityFile) -> None:
        """Open the file and read the first piece; in a thread.

        :raises BlobNotFound: if there is no such file.
        :raises WrongStorage: if there is none because it is the wrong directory.
        """
        *path, last = names
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        with translated():
            try:
                with directory_fds.DirectoryFds(root) as fds:
                    folder = fds.folder(tuple(path))
                    self._descriptor = os.open(last, flags, dir_fd=folder)
            except OSError as error:
                if error.errno in NO_FILE:
                    identity.require_again()
                    raise BlobNotFound("/".join(names)) from error
                raise
        try:
            if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
                raise BlobNotFound("/".join(names))
            self._first = self._read()
        except BaseException:
            self._close()
            raise

    async def read(self) -> bytes:
        """See :meth:`IBlobReader.read`."""
        first, self._first = self._first, b""
        if first or self._next == self._end:
            return first
        return self._read_in_memory(PIECE) or await self._threads.run(self._read)

    def send(self, socket: int, size: int) -> int | None:
        """See :meth:`IFileBlobReader.send`."""
        if self._first or self._descriptor is None:
            return 0
        size = min(size, self._end - self._next)
        sent = self._page_cache.send(socket, self._descriptor, size, self._next)
        self._next += sent or 0
        return sent

    async def close(self) -> None:
        """See :meth:`IBlobReader.close`."""
        if self._descriptor is None:
            return
        if os.fstat(self._descriptor).st_nlink:
            self._close()
        else:
            # The file was deleted meanwhile: this is what frees its space.
            await self._threads.run(self._close)

    def _read_in_memory(self, most: int) -> bytes:
        assert self._descriptor is not None
        size = min(most, self._end - self._next)
        piece = self._page_cache.read(self._descriptor, size, self._next)
        self._next += len(piece)
        return piece

    def _read(self) -> bytes:
        assert self._descriptor is not None
        size = min(PIECE, self._end - self._next)
        with translated():
            piece = os.pread(self._descriptor, size, self._next)
        if len(piece) < size:
            raise Unavailable("storage", "a blob is shorter than it should be")
        self._next += size
        return piece

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
