"""Workers leave new connections to those that have fewer."""

from qabel_block.processes.balance import Share, Table, new_table


def _shares(count: int) -> list[Share]:
    descriptor = new_table(count)
    return [Share(Table(descriptor), slot) for slot in range(count)]


def test_who_has_more_is_ahead() -> None:
    """Only who has more than another is ahead; equals are not."""
    one, other = _shares(2)
    one.join()
    other.join()
    assert not one.is_ahead()
    one.count(1)
    assert one.is_ahead()
    assert not other.is_ahead()
    other.count(1)
    assert not one.is_ahead()


def test_nobody_waits_for_the_absent() -> None:
    """A worker that does not accept yet, or no more, holds up nobody."""
    one, other = _shares(2)
    one.join()
    one.count(5)
    assert not one.is_ahead()
    other.join()
    assert one.is_ahead()
    other.leave()
    other.count(0)
    assert not one.is_ahead()


def test_what_was_counted_before_joining_counts() -> None:
    """Connections from before are not forgotten."""
    one, other = _shares(2)
    other.count(3)
    other.join()
    one.join()
    assert other.is_ahead()
