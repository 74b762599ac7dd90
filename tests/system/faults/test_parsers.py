"""Parsers get along with anything; :mod:`tests.system.faults.fuzzing` tries longer."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.system.faults.parsers import PARSERS

SEEDS = [(name, seed) for name, (_, seeds) in PARSERS.items() for seed in seeds]


@pytest.mark.parametrize(("name", "seed"), SEEDS)
def test_examples(name: str, seed: bytes) -> None:
    """What is well-formed holds to what is asked of the parser."""
    PARSERS[name][0](seed)


@settings(max_examples=100 * len(PARSERS), deadline=None)
@given(example=st.sampled_from(SEEDS), data=st.data())
def test_almost_examples(example: tuple[str, bytes], data: st.DataObject) -> None:
    """So does what is cut and put together from that, and from noise."""
    name, seed = example
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(seed))] * 2)))
    noise = data.draw(st.binary(max_size=20))
    PARSERS[name][0](seed[:start] + noise + seed[end:])
