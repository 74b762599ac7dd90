"""What tokens may do (PROTOCOL section 10), as pure functions."""

from __future__ import annotations

from qabel_block.errors import NotPermitted
from qabel_block.model import Permission


def check_create(permission: Permission) -> None:
    """Allow new objects and prefixes.

    :raises NotPermitted: to read-only tokens.
    """
    if permission is Permission.READ_ONLY:
        raise NotPermitted


def check_replace(permission: Permission) -> None:
    """Allow to replace or delete what is stored.

    :raises NotPermitted: to append-only and read-only tokens.
    """
    if permission is not Permission.FULL:
        raise NotPermitted
