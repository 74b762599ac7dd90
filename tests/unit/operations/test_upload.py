"""What decides about an upload."""

from __future__ import annotations

import pytest

from qabel_block.errors import NotOwner, NotPermitted
from qabel_block.model import Account, ObjectName, Permission, StoredObject, WriteState
from qabel_block.operations.upload import Upload
from qabel_block.rules.conditions import UNCONDITIONAL, Conditions

OWNER = 7
NAME = ObjectName("prefix", "path")
STORED = StoredObject("prefix/path~1", 9, '"e1"', None)
FREE = WriteState(OWNER, 0, None)
TAKEN = WriteState(OWNER, 9, STORED)
ADOPTABLE = WriteState(OWNER, 0, None, adopting=True)
CREATE = Conditions.parse(None, "*", None, None)


def _decide(
    permission: Permission,
    state: WriteState,
    conditions: Conditions = UNCONDITIONAL,
    size: int = 1,
    user_id: int = OWNER,
) -> None:
    account = Account(user_id, True, 100, 100, permission=permission)
    Upload(account, NAME, conditions, size, frozenset()).decide(state, size)


@pytest.mark.parametrize("permission", Permission)
def test_new_objects(permission: Permission) -> None:
    """The token does not matter to the transaction where nothing is replaced."""
    _decide(permission, FREE)


@pytest.mark.parametrize("state", [TAKEN, ADOPTABLE])
def test_replacing(state: WriteState) -> None:
    """Only a full token replaces an object, or what adoption may make one."""
    _decide(Permission.FULL, state)
    for permission in (Permission.APPEND_ONLY, Permission.READ_ONLY):
        with pytest.raises(NotPermitted):
            _decide(permission, state)


@pytest.mark.parametrize("conditions", [UNCONDITIONAL, CREATE])
@pytest.mark.parametrize("size", [1, 1000])
def test_order(conditions: Conditions, size: int) -> None:
    """The token is looked at before the quota and the conditions."""
    with pytest.raises(NotPermitted):
        _decide(Permission.APPEND_ONLY, TAKEN, conditions, size)


def test_of_others() -> None:
    """Who may not write here at all is told that."""
    with pytest.raises(NotOwner):
        _decide(Permission.APPEND_ONLY, TAKEN, user_id=OWNER + 1)
