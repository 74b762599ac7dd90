"""The accounting server's answer, as it is sent and as it is cached."""

from __future__ import annotations

import json

from qabel_block.errors import Unavailable
from qabel_block.model import Account


def read_account(body: bytes | str) -> Account:
    """Read an account.

    :raises Unavailable: if this is not what PROTOCOL section 5 promises.
    """
    try:
        value = json.loads(body)
        return Account(
            _integer(value["user_id"]),
            _flag(value["active"]),
            _integer(value["block_quota"]),
            _integer(value["monthly_traffic_quota"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Unavailable("accounting", "its answer makes no sense") from None


def write_entry(account: Account, expires: float) -> str:
    """Write an account for the cache.

    :param expires: when it is to be asked for anew, in seconds since 1970.
    """
    return json.dumps(
        {
            "user_id": account.user_id,
            "active": account.active,
            "block_quota": account.storage_quota,
            "monthly_traffic_quota": account.traffic_quota,
            "expires": expires,
        }
    )


def read_entry(entry: str) -> tuple[Account, float]:
    """Read what :func:`write_entry` wrote.

    :raises Unavailable: if it is something else.
    """
    account = read_account(entry)
    try:
        return account, float(json.loads(entry)["expires"])
    except (KeyError, TypeError, ValueError):
        raise Unavailable("cache", "an entry makes no sense") from None


def _integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value
