"""A short drill: one of each kind of part is lost, two at a time, while clients go on.

The whole one, with a table of how long each takes, is ``python -m bench.drill``.
"""

from __future__ import annotations

import pytest

from tests.support.replicated.installation import ReplicatedInstallation, missing
from tests.system.drill.faults import check, disturb
from tests.system.drill.load import Load

LOST = (("PostgreSQL primary", "SeaweedFS volume server"), ("node", "Valkey master"))


@pytest.mark.skipif(bool(missing()), reason=missing())
def test_short_drill() -> None:
    """After each loss everything works again without a hand; no answered upload is
    lost, objects that several clients change behave like registers, and sizes add
    up."""
    with ReplicatedInstallation() as installation:
        with Load(installation, seed=1) as load:
            outcomes = [disturb(installation, load, "kill", *pair) for pair in LOST]
        assert [one.wrong for one in outcomes if one.wrong] == []
        assert len(load.stored) > 10
        assert check(installation, load) == []
