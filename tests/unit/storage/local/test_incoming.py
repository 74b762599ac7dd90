"""Files that are not whole yet."""

from pathlib import Path

import pytest

from qabel_block.storage.local import incoming
from qabel_block.storage.local.directory_fds import DirectoryFds
from qabel_block.storage.local.incoming import STRIDE, IncomingFile
from qabel_block.storage.local.layout import INCOMING


def test_large_file_sets_out_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a large file is written, what is there of it goes to the disk, each byte
    once; what is small waits for the end."""
    (tmp_path / INCOMING).mkdir()
    parts: list[tuple[int, int]] = []
    monkeypatch.setattr(
        incoming,
        "start_writeback",
        lambda _descriptor, start, length: parts.append((start, length)),
    )
    piece = bytes(STRIDE // 2 + 1)
    with DirectoryFds(str(tmp_path)) as fds:
        file = IncomingFile(fds)
        file.write(piece)
        assert parts == []
        for _ in range(4):
            file.write(piece)
        file.end(fds)
    assert parts == [(0, 2 * len(piece)), (2 * len(piece), 2 * len(piece))]
