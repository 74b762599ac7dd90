"""What the last whole run measured, kept beside the page that it wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from bench.rows import Result

WORSE = 1.1
"""A row that is worse than the last one on record by more than this is warned of."""


def read(file: Path) -> Mapping[str, float]:
    """Return for each row or figure on record what it was."""
    if not file.exists():
        return {}
    recorded: dict[str, float] = json.loads(file.read_text())
    return recorded


def write(result: Result, file: Path) -> None:
    """Put a result on record."""
    recorded = {row.work: round(row.ratio, 3) for row in result.rows}
    recorded |= {figure.work: round(figure.value, 1) for figure in result.figures}
    file.write_text(json.dumps(recorded, indent=1) + "\n")


def warnings(result: Result, before: Mapping[str, float]) -> Iterator[str]:
    """Return a line for each row that got worse by a tenth."""
    for row in result.rows:
        last = before.get(row.work)
        if not last or not row.ratio:
            continue
        change = row.ratio / last if row.at_most else last / row.ratio
        if change > WORSE:
            yield f"WORSE: {row.work}: {row.ratio:.2f}, was {last:.2f}"
