"""No implementation of an interface goes without its behaviour suite."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections import defaultdict

from zope.interface import implementedBy
from zope.interface.interface import InterfaceClass

import qabel_block
from qabel_block import interfaces
from qabel_block.http.transport.body import RequestBody
from qabel_block.ledger import interfaces as ledger_interfaces
from qabel_block.ledger.postgres.database import PostgresDatabase
from qabel_block.ledger.sqlite import SqliteDatabase
from qabel_block.operations.hashed_body import HashedBody
from qabel_block.push.hub import Hub
from tests.integration.accounts import test_behaviour as accounts
from tests.integration.caches import test_behaviour as caches
from tests.integration.push import test_notifiers as notifiers
from tests.integration.storage import test_listing as listings
from tests.integration.storage.conftest import IMPLEMENTATIONS as STORAGES

TESTED: dict[str, set[type]] = {
    "IAuthenticator": set(accounts.IMPLEMENTATIONS.values()),
    "ICache": set(caches.IMPLEMENTATIONS.values()),
    "INotifier": set(notifiers.IMPLEMENTATIONS.values()),
    "IStorageBackend": set(STORAGES.values()),
    "IBlobListing": set(listings.IMPLEMENTATIONS.values()),
    # tests/integration/ledger/test_database.py, on the databases of its conftest
    "IDatabase": {PostgresDatabase, SqliteDatabase},
    # One implementation each, with tests of its own
    "IBody": {HashedBody, RequestBody},
    "IListener": {Hub},
}
"""The classes that the suite of each interface runs on."""

PARTS = {"IBlobReader", "IBlobWriter", "IFileBlobReader", "ITransaction"}
"""What storages and databases hand out; their suites test these too."""


def _implementers() -> dict[str, set[type]]:
    """Find every class that declares one of our interfaces."""
    found: dict[str, set[type]] = defaultdict(set)
    ours = {
        value
        for module in (interfaces, ledger_interfaces)
        for value in vars(module).values()
        if isinstance(value, InterfaceClass)
    }
    for module in pkgutil.walk_packages(qabel_block.__path__, "qabel_block."):
        if "migrations" in module.name or module.name.endswith("__main__"):
            continue
        try:
            members = vars(importlib.import_module(module.name))
        except SystemExit:
            continue
        for value in members.values():
            if inspect.isclass(value) and value.__module__.startswith("qabel_block"):
                for interface in ours.intersection(implementedBy(value)):
                    found[interface.__name__].add(value)
    return found


def test_every_implementation_has_its_suite() -> None:
    """Each class that declares an interface is run by the suite of it."""
    found = _implementers()
    assert set(found) == TESTED.keys() | PARTS
    for name, classes in TESTED.items():
        assert found[name] == classes, name
