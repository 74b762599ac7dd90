"""Saying something now and then only."""

from __future__ import annotations

from twisted.internet.task import Clock

from qabel_block.util.throttle import Throttle


def test_once_in_a_period() -> None:
    """It is allowed at once, and then again when the period is over."""
    clock = Clock()
    throttle = Throttle(clock.seconds)
    assert throttle.allows()
    assert not throttle.allows()
    clock.advance(59)
    assert not throttle.allows()
    clock.advance(1)
    assert throttle.allows()
    assert not throttle.allows()
