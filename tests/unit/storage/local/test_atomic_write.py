"""Many small files become durable together, but each for itself."""

from pathlib import Path

import pytest

from qabel_block.storage.local import atomic_write, directory_fds, incoming
from qabel_block.storage.local.atomic_write import MOST_FOLDERS, SmallFile, store
from qabel_block.storage.local.layout import INCOMING
from tests.support.open_files import open_below


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / INCOMING).mkdir()
    return tmp_path


def _deep(number: int, depth: int) -> SmallFile:
    folder = ("p", *(f"{number}-{level}~" for level in range(depth)))
    return SmallFile(folder, "file", b"%d" % number)


def test_many_files_in_many_folders(root: Path) -> None:
    """However many there are and however deep, all are there; nothing is left of
    the way, and no descriptor stays open."""
    files = [_deep(number, 1 + number % 30) for number in range(100)]
    assert store(str(root), files) == [None] * 100
    for file in files:
        assert root.joinpath(*file.folder, file.name).read_bytes() == file.content
    assert list((root / INCOMING).iterdir()) == []
    assert open_below(root) == []


def test_one_that_is_deeper_than_all_limits(root: Path) -> None:
    """A file below more folders than a group may keep open is stored as well."""
    files = [_deep(1, 1), _deep(2, 2 * MOST_FOLDERS), _deep(3, 1)]
    assert store(str(root), files) == [None] * 3
    assert root.joinpath(*files[1].folder, "file").read_bytes() == b"2"


def test_one_fails(root: Path) -> None:
    """One that can't be stored does not disturb the others."""
    files = [_deep(number, 1) for number in range(3)]
    taken = root.joinpath(*files[1].folder, "file")
    taken.parent.mkdir(parents=True)
    taken.write_bytes(b"somebody else's")
    first, second, third = store(str(root), files)
    assert (first, third) == (None, None)
    assert isinstance(second, FileExistsError)
    assert taken.read_bytes() == b"somebody else's"
    assert list((root / INCOMING).iterdir()) == []


def test_order(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file has its name before its content is durable, and none counts as
    stored before its folders are."""
    files = [_deep(1, 1), _deep(2, 2)]
    steps: list[str] = []

    class Watched(incoming.IncomingFile):
        def sync(self) -> None:
            super().sync()
            steps.append("sync")

        def link(self, *arguments: object) -> None:
            super().link(*arguments)  # type: ignore[arg-type]
            steps.append("link")

        def end(self, *arguments: object) -> None:
            super().end(*arguments)  # type: ignore[arg-type]
            steps.append("end")

    class Walk(directory_fds.DirectoryFds):
        def sync(self, paths: object) -> None:
            super().sync(paths)  # type: ignore[arg-type]
            steps.append("folders")

    monkeypatch.setattr(atomic_write, "IncomingFile", Watched)
    monkeypatch.setattr(atomic_write, "DirectoryFds", Walk)
    assert store(str(root), files) == [None, None]
    assert steps == ["sync", "sync", "link", "link", "folders", "end", "end"]
