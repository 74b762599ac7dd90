"""The scenarios of clients that leave over TCP."""

import socket
import struct

import pytest

from tests.scenarios.disconnects import *  # noqa: F403
from tests.scenarios.disconnects import check_client_leaves
from tests.support.wire import Wire
from tests.support.world import World


def _reset(wire: Wire) -> None:
    linger = struct.pack("ii", 1, 0)
    wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    wire.close()


@pytest.mark.parametrize("kind", ["chunked", "overwrite", "download", "delete"])
def test_client_resets(world: World, kind: str) -> None:
    """Wherever in a request a client resets the connection, the ledger agrees with
    itself and with storage, no temporary file stays, and no traceback is logged."""
    check_client_leaves(world, kind, _reset)
