"""A SQLite ledger before it is used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from qabel_block.errors import CannotStart
from qabel_block.ledger.migrate import current, upgrade
from qabel_block.ledger.prepare_sqlite import prepare_sqlite
from qabel_block.ledger.revisions import HEAD


@pytest.mark.parametrize("migrate", [True, False])
@pytest.mark.parametrize("empty", [True, False])
def test_made(migrate: bool, empty: bool, tmp_path: Path) -> None:
    """A file that is not there is made with its directory, and so is an empty one,
    which an interrupted start has left; a second time nothing happens."""
    path = tmp_path / "home" / "ledger"
    if empty:
        path.parent.mkdir()
        path.touch()
    for _ in range(2):
        prepare_sqlite(path, migrate)
        assert current(f"sqlite:///{path}") == HEAD


def test_upgraded(tmp_path: Path) -> None:
    """One of an older version is upgraded if that is wanted, and else refused."""
    path = tmp_path / "ledger"
    upgrade(f"sqlite:///{path}", "aa3320db4c7f")
    with pytest.raises(CannotStart) as caught:
        prepare_sqlite(path, migrate=False)
    assert str(caught.value).endswith(
        f"run: qabel-block migrate --psql-dsn sqlite:///{path}"
    )
    prepare_sqlite(path, migrate=True)
    assert current(f"sqlite:///{path}") == HEAD


def test_unusable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What can't be made or written is named."""
    (tmp_path / "file").touch()
    with pytest.raises(CannotStart, match=f"{tmp_path}/file can't be made"):
        prepare_sqlite(tmp_path / "file" / "ledger", migrate=True)
    # Root may write everywhere.
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    with pytest.raises(CannotStart, match=f"{tmp_path} can't be written by user"):
        prepare_sqlite(tmp_path / "ledger", migrate=True)
    assert not (tmp_path / "ledger").exists()
