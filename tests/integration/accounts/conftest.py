"""An accounting server of each test's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.accounting import AccountingDouble


@pytest.fixture
def accounting() -> Iterator[AccountingDouble]:
    with AccountingDouble() as double:
        double.add_user("known", 7, block_quota=100, monthly_traffic_quota=200)
        double.add_user("disabled", 8, active=False)
        yield double
