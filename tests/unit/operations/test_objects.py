"""What a token may do, before anything is looked up."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, cast

import pytest

from qabel_block.errors import NotPermitted
from qabel_block.ledger.ledger import Ledger
from qabel_block.model import Account, ObjectName, Permission
from qabel_block.operations.objects import Operations
from qabel_block.operations.usage import no_usage_log
from qabel_block.rules.conditions import UNCONDITIONAL
from qabel_block.util.keyed_lock import KeyedLock

NAME = ObjectName("prefix", "path")
NO_LEDGER = cast(Ledger, object())
OPERATIONS = Operations(
    NO_LEDGER,
    cast(KeyedLock, object()),
    lambda _event: None,
    no_usage_log,
    lambda _owner, _size: None,
)


def _refuses(work: Coroutine[Any, Any, object]) -> None:
    with pytest.raises(NotPermitted):
        work.send(None)


def _account(permission: Permission) -> Account:
    return Account(7, True, 100, 100, permission=permission)


def test_prefixes() -> None:
    """A read-only token makes no prefix."""
    _refuses(OPERATIONS.create_prefix(_account(Permission.READ_ONLY)))


@pytest.mark.parametrize("permission", [Permission.READ_ONLY, Permission.APPEND_ONLY])
def test_deleting(permission: Permission) -> None:
    """Only a full token deletes, whatever is there."""
    _refuses(OPERATIONS.delete(_account(permission), NAME, UNCONDITIONAL))
