"""Commands of the documents that no test of them runs, and why."""

from __future__ import annotations

BLOCKS = {
    ("README.md", "python3 -m venv .venv && .venv/bin/pip install '.[test]'"): (
        "it is how these tests are run"
    ),
    ("docs/contributing.md", "python3 -m venv .venv"): "CI runs it",
    ("docs/operating.md", "podman build"): (
        "wants a registry; test_image.py does it with buildah, without one"
    ),
    ("docs/performance.md", "python -m bench"): (
        "takes minutes, and wants a machine for itself"
    ),
    ("docs/reliability.md", "pip install '.[fuzz]'"): "CI runs it, for shorter",
    ("docs/restic.md", "cut -c1-100"): (
        "wants a ledger that has lost something; test_repository.py has one"
    ),
    ("docs/restic.md", "python -m bench.restic"): "takes minutes, and wants rclone",
}
"""By document and beginning."""

LINES = {"systemctl": "wants a machine that systemd runs"}
"""By their first word."""
