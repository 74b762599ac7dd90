"""What systemd is told."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from qabel_block.server.systemd import SystemdNotifier


def test_nothing_after_the_end(tmp_path: Path) -> None:
    """Once it is told that the service ends, it is told nothing else."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        heard.setblocking(False)
        notifier = SystemdNotifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        notifier.stopping()
        notifier.reloading()
        notifier.ready()
        notifier.stopping()
        assert heard.recv(4096) == b"STOPPING=1"
        with pytest.raises(BlockingIOError):
            heard.recv(4096)
