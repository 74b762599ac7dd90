"""A part of the disk stays free."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.task import Clock

from qabel_block.errors import StorageFull
from qabel_block.storage.local import reserve as module
from qabel_block.storage.local.reserve import SECONDS, Reserve

MIB = 2**20


class Disk:
    """The module ``os`` with a disk that is as full as it is told."""

    def __init__(self, total: int, free: int) -> None:
        self.total, self.free = total, free
        self.asked = 0

    def fstatvfs(self, _descriptor: int) -> Any:
        self.asked += 1
        return SimpleNamespace(
            f_blocks=self.total // 4096, f_bavail=self.free // 4096, f_frsize=4096
        )


@pytest.mark.parametrize(
    ("total", "reserve"),
    [(100 * MIB, 16 * MIB), (10_000 * MIB, 100 * MIB), (2**50, 1024 * MIB)],
)
def test_default(monkeypatch: pytest.MonkeyPatch, total: int, reserve: int) -> None:
    """By default it is a hundredth of the disk, between 16 MiB and 1 GiB."""
    monkeypatch.setattr(module, "os", disk := Disk(total, reserve + MIB))
    Reserve(None, Clock().seconds).require(0, MIB)
    disk.free = reserve + MIB - 4096
    with pytest.raises(StorageFull):
        Reserve(None, Clock().seconds).require(0, MIB)


def test_disk_is_not_asked_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written here is counted, and what others write is noticed soon."""
    monkeypatch.setattr(module, "os", disk := Disk(1000 * MIB, 30 * MIB))
    clock = Clock()
    reserve = Reserve(20 * MIB, clock.seconds)
    for _ in range(10):
        reserve.require(0, MIB)
    assert disk.asked == 1
    disk.free = 20 * MIB
    with pytest.raises(StorageFull):
        reserve.require(0, MIB)
    disk.free = 21 * MIB
    reserve.require(0, MIB)
    disk.free = 20 * MIB
    clock.advance(SECONDS + 1)
    with pytest.raises(StorageFull):
        reserve.require(0, 1)


def test_real_disk(tmp_path: Path) -> None:
    """A disk with room has room, unless all of it is reserved."""
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        Reserve(0, Clock().seconds).require(descriptor, 1)
        with pytest.raises(StorageFull):
            Reserve(2**62, Clock().seconds).require(descriptor, 1)
    finally:
        os.close(descriptor)
