"""The scenarios of the accounting server in memory, and those with time to pass."""

import pytest

from qabel_block.util.budget import REQUEST_SECONDS
from tests.scenarios.accounting import *  # noqa: F403
from tests.support.memory import MemoryServer
from tests.support.world import World


@pytest.mark.parametrize(("fault", "value"), [("stall", True), ("delay", 60.0)])
def test_no_answer_in_time(world: World, fault: str, value: object) -> None:
    """A request does not wait longer than its limit for an accounting server that
    stops in the middle of an answer or takes its time; then it is 503."""
    assert isinstance(world.server, MemoryServer)
    clock, user = world.server.clock, world.user()
    setattr(world.accounting, fault, value)
    began = clock.seconds()
    answer = user.client.get("/api/v0/quota/")
    assert answer.status_code == 503
    assert "accounting" in answer.json()["detail"]
    assert 0 < clock.seconds() - began <= REQUEST_SECONDS
