"""Imports go down only, and no name is used twice."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import qabel_block

ROOT = Path(qabel_block.__file__).parent
BASE = {"errors", "model", "names", "interfaces", "util"}
EDGE = BASE | {"rules", "operations", "ledger", "log", "push"}
TOP = EDGE | {
    *("accounts", "caches", "config", "factories", "http", "listening", "metrics"),
    *("processes", "restic", "server", "storage"),
}

ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "util": {"errors"},
    "model": {"errors"},
    "names": {"model"},
    "interfaces": {"model"},
    "rules": {"errors", "model", "names"},
    # Adapters: each stands alone on the interfaces.
    "accounts": BASE | {"ledger"},
    "caches": BASE,
    "ledger": BASE,
    "listening": {"errors", "util"},
    "log": {"errors", "util"},
    "push": BASE,
    "storage": BASE,
    # What is wanted, and how it is written in options.
    "config": {"errors", "log", "ledger", "model", "names", "util"},
    # The domain's operations, and who asks for them.
    "operations": BASE | {"rules", "ledger"},
    "http": EDGE | {"accounts"},
    "restic": EDGE | {"accounts", "http"},
    # What is put around parts, and what puts parts together.
    "metrics": EDGE | {"accounts", "http", "listening"},
    "factories": BASE | {"config", "ledger", "storage"},
    "processes": TOP,
    "server": TOP,
    "cli": TOP,
    "tap": TOP,
}
"""For each package, or module beside them, the others that it may import."""

DRIVERS = {"psycopg2", "txpostgres"}


MODULES = {
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(
        ".__init__"
    ): path
    for path in ROOT.rglob("*.py")
}


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def _imported(module: str) -> Iterator[str]:
    """Return the dotted names that a module imports, wherever in it, including what
    only a type checker would."""
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None
            yield from (f"{node.module}.{name.name}" for name in node.names)


def _own(module: str) -> set[str]:
    """Return the modules of the package that a module imports."""
    found = set()
    for name in _imported(module):
        candidate = name if name in MODULES else name.rpartition(".")[0]
        if candidate in MODULES:
            found.add(candidate)
    return found - {"qabel_block"}


def _package(module: str) -> str:
    return module.split(".")[1]


@pytest.mark.parametrize("module", sorted(MODULES.keys() - {"qabel_block"}))
def test_imports_go_down(module: str) -> None:
    """Each module imports only its own package and those below it."""
    package = _package(module)
    others = {_package(one) for one in _own(module)} - {package}
    assert others <= ALLOWED[package]


def test_no_cycles() -> None:
    """No module needs itself, by whatever way."""
    try:
        TopologicalSorter({one: _own(one) for one in MODULES}).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(error.args[1]))


@pytest.mark.parametrize("module", sorted(MODULES))
def test_foreign_insides(module: str) -> None:
    """The database's drivers are met below ``ledger.postgres`` only, what Twisted's
    HTTP server is made of below ``http.transport`` only. Its constants are anybody's.
    """
    for name in _imported(module):
        if name.partition(".")[0] in DRIVERS:
            assert module.startswith("qabel_block.ledger.postgres")
        if name.startswith("twisted.web.http.") and not name[17:].isupper():
            assert module.startswith("qabel_block.http.transport")


def test_configuration_asks_the_ledger_for_its_dsn_only() -> None:
    """Options are read without a database's driver but through one module."""
    asked = set[str]()
    for module in MODULES:
        if module.startswith("qabel_block.config."):
            asked |= {one for one in _own(module) if _package(one) == "ledger"}
    assert asked == {"qabel_block.ledger.postgres.dsn"}


def test_no_class_name_twice() -> None:
    """A class can be found by its name."""
    names = Counter(
        node.name
        for tree in map(_tree, MODULES)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in names.items() if count > 1] == []
