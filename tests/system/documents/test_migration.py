"""docs/migration.md: an operator moves in from the legacy server, and back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.integration.ledger.support import change
from tests.support.documents import CommandsOf
from tests.support.legacy import LegacyDirectory, fill, make_legacy_tables
from tests.support.shell import Shell

pytestmark = pytest.mark.xdist_group("documents")

OBJECTS = {1: {"6bd0f6e5": {"a": b"x" * 1000}}, 2: {"p2": {"b": b"y" * 10}}}


def test_migration(reader: Shell, tmp_path: Path) -> None:
    """Each prints what the document says, but for numbers."""
    migration = CommandsOf.document("docs/migration.md")
    dsn = reader.environment["DSN"]
    legacy = LegacyDirectory(tmp_path / "srv")
    make_legacy_tables(dsn)
    fill(dsn, legacy, OBJECTS)
    change(dsn, "INSERT INTO users VALUES (1, 5), (2, 20)")
    legacy.put("6bd0f6e5/no.object", b"")
    legacy.put("left-over/a", b"z")
    reader.run(migration.take("pg_dump"))
    _compare(reader, migration.take("$ psql"))
    _compare(reader, migration.take("$ qabel-block migrate"))
    with reader.serving(migration.take("twist")):
        pass
    reader.run(migration.take('qabel-block migrate --psql-dsn "$DSN" --to'))
    reader.run(migration.take('qabel-block migrate --psql-dsn "$DSN"\n'), status=1)
    assert migration.left == []


def _compare(shell: Shell, block: str) -> None:
    """Run what stands behind ``$``; what it prints is what stands below."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        said = shell.run(f"{command} || [ $? = 1 ]")
        assert _lines(said) == _lines(expected)


def _lines(text: str) -> list[str]:
    """Return the lines without what differs: revisions, prefixes, numbers, units."""
    text = re.sub(r"\b[0-9a-f]{12}\b", "REVISION", text)
    text = re.sub(r"(not a blob[^:]*: )[^/\n]+/", r"\1PREFIX/", text)
    text = re.sub(r"\d[\d,.]*(?: (?:bytes|B|[KM]iB))?", "#", text)
    return sorted(line.strip() for line in text.splitlines() if line.strip())
