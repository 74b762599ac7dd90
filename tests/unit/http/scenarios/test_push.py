"""The scenarios of push in memory, and those with time to pass."""

import pytest
from websockets.exceptions import ConnectionClosed

from tests.scenarios.push import *  # noqa: F403
from tests.scenarios.push import event, listen
from tests.support.world import User, World


def test_access_ends(world: World, user: User) -> None:
    """A socket of a prefix is closed with 1008 when its token is another user's, or
    nobody's; one of an object is open to all."""
    for user_id in (world.user().user_id, -1):
        login = world.login(user.user_id)
        login._prefix = user.prefix
        with listen(login) as socket, listen(user, "a") as other:
            world.accounting.give_token(login.token, user_id)
            with pytest.raises(ConnectionClosed) as caught:
                socket.recv(timeout=60)
            assert user.upload("a", b"x").status_code == 204
            assert event(other)["operation"] == "POST"
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1008
        assert login.token not in world.server.log()
