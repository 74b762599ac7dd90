"""Accounts as they are in a cache that others can read and write."""

from __future__ import annotations

import json
from hmac import compare_digest, digest

from qabel_block.accounts.accounting_server import read_account
from qabel_block.errors import Unavailable
from qabel_block.model import Account


class InvalidEntry(Exception):
    """An entry is none that was written with this secret under this key."""


class EntrySigner:
    """Makes keys that no token can be read back from, and entries that nobody can
    make, change or move to another key who does not have the secret.

    :param secret: all nodes that share the cache share it.
    """

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode("utf-8")
        # Of its own: what tells keys apart must not sign entries.
        self._key = digest(self._secret, b"qabel-block cache entry", "sha256")

    def token_key(self, authorization: str) -> str:
        """Return the key of the account that an ``Authorization`` header is for."""
        token = digest(self._secret, authorization.encode("utf-8"), "sha256").hex()
        return f"account:token:{token}"

    def write(self, key: str, account: Account, expires: float) -> str:
        """Return an entry.

        :param expires: when it is to be asked for anew, in seconds since 1970.
        """
        entry = json.dumps(
            {
                "user_id": account.user_id,
                "active": account.active,
                "block_quota": account.storage_quota,
                "monthly_traffic_quota": account.traffic_quota,
                "expires": expires,
            }
        )
        return f"{self._signature(key, entry)} {entry}"

    def read(self, key: str, signed: str) -> tuple[Account, float]:
        """Return what was written, and when it expires.

        :raises InvalidEntry: if it was not written like that.
        """
        signature, _, entry = signed.partition(" ")
        expected = self._signature(key, entry)
        # As bytes: text that is not ASCII can't be compared.
        if not compare_digest(signature.encode("utf-8"), expected.encode("ascii")):
            raise InvalidEntry("an entry is not signed with the secret")
        try:
            return read_account(entry), float(json.loads(entry)["expires"])
        except (Unavailable, KeyError, TypeError, ValueError):
            raise InvalidEntry("an entry makes no sense") from None

    def _signature(self, key: str, entry: str) -> str:
        signed = f"{key} {entry}".encode("utf-8", "surrogatepass")
        return digest(self._key, signed, "sha256").hex()


def user_key(user_id: int) -> str:
    """Return the key of a user's account."""
    return f"account:user:{user_id}"
