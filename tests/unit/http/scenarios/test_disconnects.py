"""The scenarios of clients that leave in memory."""

from collections.abc import Callable

import pytest

from tests.scenarios.disconnects import *  # noqa: F403
from tests.scenarios.disconnects import KINDS, check_client_leaves, close, half_close
from tests.support.wire import Wire
from tests.support.world import World


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("leave", [close, half_close])
def test_client_leaves(world: World, kind: str, leave: Callable[[Wire], None]) -> None:
    """Wherever in a request a client leaves, the ledger agrees with itself and
    with storage, no temporary file stays, and no traceback is logged."""
    check_client_leaves(world, kind, leave)
