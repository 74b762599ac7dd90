"""Workers leave new connections to those that have fewer."""

from qabel_block.processes.balancing import (
    ConnectionBalancer,
    ConnectionTable,
    new_table,
)


def _shares(count: int) -> list[ConnectionBalancer]:
    descriptor = new_table(count)
    return [
        ConnectionBalancer(ConnectionTable(descriptor), slot) for slot in range(count)
    ]


def test_who_has_more_is_ahead() -> None:
    """Who has more than another leads by the difference; equals don't."""
    one, other = _shares(2)
    one.join()
    other.join()
    assert one.excess() == 0
    one.count(1)
    assert one.excess() == 1
    assert other.excess() == 0
    other.count(1)
    assert one.excess() == 0


def test_tolerance() -> None:
    """A small difference between large numbers is none."""
    one, other = _shares(2)
    one.join()
    other.join()
    other.count(160)
    one.count(170)
    assert one.excess() == 0
    one.count(171)
    assert one.excess() == 1


def test_nobody_waits_for_the_absent() -> None:
    """A worker that does not accept yet, or no more, holds up nobody."""
    one, other = _shares(2)
    one.join()
    one.count(5)
    assert one.excess() == 0
    other.join()
    assert one.excess() == 5
    other.leave()
    other.count(0)
    assert one.excess() == 0


def test_what_was_counted_before_joining_counts() -> None:
    """Connections from before are not forgotten."""
    one, other = _shares(2)
    other.count(3)
    other.join()
    one.join()
    assert other.excess() == 3
