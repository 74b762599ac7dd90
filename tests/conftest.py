"""The real servers that tests run against, each started when first needed."""

import gc
import os
from collections.abc import Generator
from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.postgres import new_postgres_database, own_postgres, postgres_dsn
from tests.support.read_once import read_once
from tests.support.s3 import moto, seaweedfs, store
from tests.support.valkey import own_valkey, redis_address
from tests.support.wheelhouse import own_wheel, pip_environment, wheelhouse

pytest.register_assert_rewrite("tests.scenarios")
read_once()

__all__ = [
    "moto",
    "new_postgres_database",
    "own_postgres",
    "own_valkey",
    "own_wheel",
    "pip_environment",
    "postgres_dsn",
    "redis_address",
    "seaweedfs",
    "store",
    "wheelhouse",
]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Divide the tests among processes: those of one file stay together, and so do
    all that share a database and a storage, which take time to start. Files with few
    and long tests come first, so that no process has one of them when all others have
    ended."""
    items.sort(key=lambda item: _room(item.path))
    for item in items:
        if item.get_closest_marker("xdist_group"):
            continue
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        group = str(parameters.get("setting", item.location[0]))
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Spare the garbage collector a hundred thousand objects that live until the end:
    to look at them again and again takes a twentieth of the time of all tests, and of
    the collection, while they are made, a tenth."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


@lru_cache
def _room(path: Path) -> int:
    """Return where in the order the tests of a file are."""
    rooms = (
        *("documents", "packaging", "drill", "crash", "faults", "system"),
        *("test_adopt.py", "test_s3_faults.py"),
    )
    folders = path.parts
    return next((n for n, name in enumerate(rooms) if name in folders), len(rooms))


# Servers and commands are started a thousand times; nothing is gained if each of them
# compiles all modules anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# How long an example takes says more of the machine's load than of the code.
settings.register_profile("without deadlines", deadline=None)
settings.load_profile("without deadlines")
