"""What a supervisor passes to a worker."""

from __future__ import annotations

import pytest
from twisted.python.usage import UsageError

from qabel_block.processes.worker_spec import VARIABLE, WorkerSpec


def test_passed_on() -> None:
    """A worker reads what its supervisor has written, once."""
    spec = WorkerSpec(2, 5, 1, (6, 7), "/metrics")
    environment = spec.to_environment()
    assert WorkerSpec.from_environment(environment) == spec
    assert environment == {}
    assert WorkerSpec.from_environment(environment) is None


@pytest.mark.parametrize("given", ["", "x", "{}", "[]", "1", '{"sockets": [1]}'])
def test_of_somebody_else(given: str) -> None:
    """Anything else in its place is an error in one line."""
    with pytest.raises(UsageError, match="no known variable"):
        WorkerSpec.from_environment({VARIABLE: given})
