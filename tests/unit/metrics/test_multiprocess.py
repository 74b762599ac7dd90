"""The directory through which processes share metrics."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from qabel_block.metrics.multiprocess import MultiprocessMetrics

_KILLED = """
import os
from qabel_block.metrics.multiprocess import MultiprocessMetrics
MultiprocessMetrics().start()
os.kill(os.getpid(), 9)
"""


def test_abandoned_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a killed server leaves is removed by the next one; what one uses that
    runs stays, and so do files and links of the same name."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    environment = {"TMPDIR": str(tmp_path), "PYTHONPATH": ":".join(sys.path)}
    running = MultiprocessMetrics()
    running.start()
    command = [sys.executable, "-c", _KILLED]
    subprocess.run(command, env=environment, check=False, timeout=60)
    (tmp_path / "qabel-block-metrics-file").touch()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "qabel-block-metrics-link").symlink_to(elsewhere)
    assert len(list(tmp_path.glob("qabel-block-metrics-*"))) == 4
    second = MultiprocessMetrics()
    second.start()
    left = {str(path) for path in tmp_path.glob("qabel-block-metrics-*")}
    assert left == {
        running.directory,
        second.directory,
        str(tmp_path / "qabel-block-metrics-file"),
        str(tmp_path / "qabel-block-metrics-link"),
    }
    assert elsewhere.is_dir()
    for one in (running, second):
        one.stop()
        assert not Path(one.directory).exists()
