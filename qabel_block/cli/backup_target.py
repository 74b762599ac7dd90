"""The directory that ``qabel-block backup`` writes into: whose it is, who else uses it,
and how files get into it whole. All calls block.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from qabel_block.cli.runner import CommandFailed
from qabel_block.ledger.installation import read_installation
from qabel_block.model import Installation
from qabel_block.rules.identity import may_hold_copy
from qabel_block.server.directory_lock import DirectoryInUse, DirectoryLock
from qabel_block.storage.local.identity import IdentityFile
from qabel_block.storage.local.incoming import sweep
from qabel_block.storage.local.layout import INCOMING

BUSY_SECONDS = 5.0
"""For how long a copy's ledger may be read by somebody before it counts as in use."""

_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_TABLE = "SELECT 1 FROM sqlite_master WHERE name = 'installation'"


class BackupTarget:
    """A directory for ``--standalone`` that is, or will be, an installation's copy.

    All methods raise ``OSError`` or ``sqlite3.Error`` if they can't do their work.

    :ivar directory: made by :meth:`hold` if its parent exists.
    :ivar objects: the directory of blobs in it.
    :ivar ledger: the ledger's file in it.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self.objects = self.directory / "objects"
        self.ledger = self.directory / "ledger.sqlite"
        self._lock = DirectoryLock(self.directory)
        self._locked = False

    def refuse_original(self, ledger: Path, storage: Path) -> None:
        """Make sure that the copy would be beside what is copied.

        :raises CommandFailed: if the copy would replace the ledger, or if one of the
            storage and the copy is within the other.
        """
        if _is_same(self.ledger, ledger):
            raise CommandFailed(
                f"--into {self.directory} has the ledger itself, which the backup would"
                " replace"
            )
        inside = _is_within(self.directory, storage) or _is_within(
            self.objects, storage
        )
        if inside or _is_within(storage, self.objects):
            raise CommandFailed(
                f"--into {self.directory}: the backup can't be kept within the storage,"
                " nor the storage within the backup"
            )

    @contextmanager
    def hold(self, installation: str) -> Iterator[None]:
        """Make the directory ready, and keep others from it while the block runs.

        Where there are no locks it is used nevertheless: a network's file system is
        where backups are kept. Two at a time are no danger to files there, since
        each has names of its own for those that are not whole yet.

        :param installation: the id of what is copied.
        :raises CommandFailed: if the directory is another's, or in use. Then nothing
            in it was changed.
        """
        self._compare(installation)
        try:
            self._locked = self._lock.acquire()
        except DirectoryInUse:
            raise CommandFailed(
                f"another backup is writing into {self.directory}, or a server is"
                " running on it"
            ) from None
        try:
            # Since the first look another installation's first backup may have ended.
            self._compare(installation)
            for root in (self.directory, self.objects):
                _prepare(root)
            with self._exclusive_ledger():
                pass  # better now than after hours of copying
            yield
        finally:
            self._lock.release()

    @contextmanager
    def new_file(self, root: Path) -> Iterator[Path]:
        """Give an empty file, which the block fills and gives its name.

        It is gone after the block if it has none by then, and if the process is
        killed, the next backup or server removes it.

        :param root: ``directory`` or ``objects``, on whose file system it will be:
            ``objects`` may be a disk of its own.
        """
        path = root / INCOMING / token_hex(16)
        os.close(os.open(path, _NEW, 0o600))
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def replace_ledger(self, new: Path) -> None:
        """Put a new ledger, which is durable, in the place of the older one.

        :raises CommandFailed: if somebody uses the older one.
        """
        with self._exclusive_ledger():
            new.replace(self.ledger)

    def _compare(self, installation: str) -> None:
        storage = IdentityFile(str(self.objects)).read()
        try:
            ledger = _read_installation(self.ledger)
        except sqlite3.Error as error:
            raise CommandFailed(
                f"it can't be told whose ledger {self.ledger} is: {error}"
            ) from error
        if not may_hold_copy(installation, ledger, storage):
            raise CommandFailed(
                f"{self.directory} belongs to another installation; choose another"
                " directory for --into"
            )

    @contextmanager
    def _exclusive_ledger(self) -> Iterator[None]:
        """Make the older copy one file that nobody has open, while the block runs.

        A server that ran on it may have left changes in a log beside it. To remove
        the log first would take them from the older copy, which is all there is if the
        machine stops then; left beside the new ledger, the log would be played into
        that. So they are merged by SQLite, as by any program that opens it.

        :raises CommandFailed: if somebody uses it.
        """
        if not _size(self.ledger):
            for suffix in ("-wal", "-shm", "-journal"):
                _beside(self.ledger, suffix).unlink(missing_ok=True)
            yield
            return
        if not self._locked and not _has_log(self.ledger):
            yield  # SQLite could not lock it either, and there is nothing to merge
            return
        uri = f"{self.ledger.as_uri()}?mode=rw"
        with closing(
            sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
        ) as connection:
            try:
                connection.execute("SELECT 1 FROM sqlite_master").fetchall()
                connection.execute("PRAGMA journal_mode = DELETE").fetchall()
                connection.execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                    raise
                raise CommandFailed(f"{self.ledger} is in use") from None
            yield


def _prepare(root: Path) -> None:
    """Make a directory for files that are not whole yet; remove those that are left."""
    root.mkdir(mode=0o700, exist_ok=True)
    (root / INCOMING).mkdir(mode=0o700, exist_ok=True)
    # Where there are no locks, a file may be one that another backup is writing.
    with suppress(OSError):
        sweep(str(root))


def _read_installation(ledger: Path) -> Installation | None:
    """Return what a ledger says that nobody may be able to write to, and change
    nothing.

    :return: with an empty id if it knows none; ``None`` if there is no ledger.
    """
    if not _size(ledger):
        return None
    # Without a log there is nothing that others might move meanwhile; to be a reader
    # like any other would make files beside it.
    how = "mode=ro" if _has_log(ledger) else "immutable=1"
    uri = f"{ledger.as_uri()}?{how}"
    with closing(sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS)) as connection:
        rows: list[tuple[str, str | None]] = []
        if connection.execute(_TABLE).fetchall():
            rows = connection.execute(read_installation.sqlite[-1]).fetchall()
    if not rows:
        return Installation("", confirmed=False)
    ((id_, confirmed),) = rows
    return Installation(id_, confirmed is not None)


def _has_log(ledger: Path) -> bool:
    return _size(_beside(ledger, "-wal")) > 0


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _size(path: Path) -> int:
    """Return the bytes of a file, 0 if it is not there."""
    status = _status(path)
    return 0 if status is None else status.st_size


def _is_same(one: Path, other: Path) -> bool:
    """Return whether two paths lead to the same, whatever they look like."""
    if os.path.realpath(one) == os.path.realpath(other):
        return True
    first, second = _status(one), _status(other)
    # One file has many spellings where case does not matter, or by bind mounts.
    return first is not None and second is not None and os.path.samestat(first, second)


def _is_within(path: Path, folder: Path) -> bool:
    """Return whether a path leads to a folder, or to something below it."""
    real = Path(os.path.realpath(path))
    return any(_is_same(above, folder) for above in (real, *real.parents))


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
