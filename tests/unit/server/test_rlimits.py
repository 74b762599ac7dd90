"""Descriptors are shared between connections and what they transfer."""

from __future__ import annotations

import pytest

from qabel_block.server.rlimits import OTHERS, connections_within


@pytest.mark.parametrize("limit", [64, 256, 512, 1024, 4096])
def test_scarce_descriptors(limit: int) -> None:
    """Each connection has two, and something is left for everything else."""
    room = connections_within(limit)
    left = limit - 2 * room
    assert left >= min(OTHERS, limit // 2)
    assert room >= limit // 4 or limit > 512


def test_next_to_nothing() -> None:
    """One connection is served in any case."""
    assert connections_within(3) == 1
