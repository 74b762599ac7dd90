"""Makes the file of a SQLite ledger, or upgrades it, before it is used."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from qabel_block.errors import CannotStart, NotMigrated
from qabel_block.ledger import migrate_check
from qabel_block.ledger.ballast import ballast_for
from qabel_block.ledger.interfaces import Row
from qabel_block.ledger.migrate_check import is_head, require_head
from qabel_block.ledger.revisions import REVISIONS
from qabel_block.ledger.sqlite_connect import connect_sqlite

BUSY_SECONDS = 10.0

_TABLES = "SELECT count(*) FROM sqlite_master WHERE type = 'table'"
_NO_TABLE = "no such table"


def prepare_sqlite(path: Path, migrate: bool) -> None:
    """Bring a ledger to the newest schema; blocks.

    A file that is not there, or has no tables, is made.

    :param migrate: whether one of an older version is upgraded.
    :raises CannotStart: if its directory or the file can't be made or used, or its
        schema is another version's that is not to be changed.
    """
    _check_directory(path.parent)
    # On a disk that is full the file could not even be read.
    ballast_for(path).release()
    try:
        found = _revision_in(path)
        if is_head(found):
            _check_writable(path)
            # A copy that was made with VACUUM is not in the mode in which queries
            # don't wait for changes.
            connect_sqlite(str(path)).close()
            return
        known = all(revision in REVISIONS for revision, _ in found)
        if not found or (migrate and known):
            _upgrade(path)
            return
        require_head(found)
    except NotMigrated as error:
        command = f" --psql-dsn sqlite:///{path}" if error.can_be_migrated else ""
        raise CannotStart(f"database: {path}: {error.reason}{command}") from error
    except (sqlite3.Error, OSError) as error:
        raise CannotStart(f"database: {path}: {error}") from error


def _upgrade(path: Path) -> None:
    # Only where they are needed: their import takes longer than a start without.
    from alembic.util import CommandError
    from sqlalchemy.exc import SQLAlchemyError

    from qabel_block.ledger.migrate import upgrade

    try:
        upgrade(f"sqlite:///{path}")
    except (SQLAlchemyError, CommandError) as error:
        # The driver's own words, without SQLAlchemy's advice after them.
        reason = getattr(error, "orig", None) or error
        raise CannotStart(f"database: {path}: {reason}") from error


def _check_directory(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise CannotStart(
            f"the directory {directory} can't be made: {error.strerror}"
        ) from error
    _check_writable(directory)


def _check_writable(path: Path) -> None:
    if not os.access(path, os.R_OK | os.W_OK):
        raise CannotStart(
            f"{path} can't be written by user {os.geteuid()}; make that user its owner"
        )


def _revision_in(path: Path) -> list[Row]:
    """Return what the file says, nothing if it has no tables or is not there.

    :raises NotMigrated: if its tables are not those of a ledger.
    """
    if not path.exists():
        return []
    uri = f"{path.absolute().as_uri()}?mode=rw"
    with closing(sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS)) as connection:
        try:
            return connection.execute(migrate_check.revision.sqlite[0]).fetchall()
        except sqlite3.OperationalError as error:
            if _NO_TABLE not in str(error):
                raise
        ((tables,),) = connection.execute(_TABLES)
        if tables:
            require_head([])
        return []
