"""What clients see of an object is what they would see of a single register."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.system.faults.cluster import Cluster, running_cluster
from tests.system.faults.histories import CLIENTS, REQUESTS, record


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running_cluster() as cluster:
        yield cluster


def test_linearizable(cluster: Cluster) -> None:
    """Reads, uploads, deletions and conditional changes by twenty clients through
    three servers make sense in some order, though servers are killed, the database
    is restarted and answers to commits are lost meanwhile."""
    history = record(cluster, seed=1)
    assert history.explain() is None
    outcomes = history.outcomes()
    assert outcomes.total() > CLIENTS * REQUESTS / 2
    assert min(outcomes["done"], outcomes["refused"]) > CLIENTS
