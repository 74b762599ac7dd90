"""Divides a ledger as the documents say."""

from __future__ import annotations

import re

from tests.support.checkout import CHECKOUT

_STATEMENTS = re.compile(r"```sql\n(BEGIN;\n.*?)```", re.DOTALL)


def partition_statements() -> str:
    """Return the statements of docs/scaling.md that divide ``objects``."""
    page = (CHECKOUT / "docs" / "scaling.md").read_text()
    (statements,) = _STATEMENTS.findall(page)
    return str(statements)
