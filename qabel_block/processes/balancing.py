"""Shares connections evenly among workers.

Each worker writes into memory that all of them share how many connections it
has, and leaves new ones for a moment to those that have fewer.
"""

from __future__ import annotations

import mmap
import os
import tempfile

ABSENT = -1
"""In the slot of who accepts no connections."""

BYTES = 8

TOLERANCE = 16
"""A worker may have one connection more for so many that another has: where they
come and go, evening that out would cost more than it gives."""


class ConnectionTable:
    """The memory that is shared: one number for each slot.

    Reading and writing one is a single access to aligned memory. An outdated
    number would only make somebody wait for a moment.

    :param descriptor: of a file that :func:`new_table` has made.
    """

    def __init__(self, descriptor: int) -> None:
        size = os.fstat(descriptor).st_size
        self._numbers = memoryview(mmap.mmap(descriptor, size)).cast("q")

    def __getitem__(self, slot: int) -> int:
        return self._numbers[slot]

    def __setitem__(self, slot: int, number: int) -> None:
        self._numbers[slot] = number

    def lowest(self) -> int:
        """Return the smallest number of connections that a worker has."""
        return min((n for n in self._numbers if n != ABSENT), default=0)


def new_table(slots: int) -> int:
    """Make a table in which nobody is present; return a descriptor."""
    with tempfile.TemporaryFile() as file:
        file.write(ABSENT.to_bytes(BYTES, "little", signed=True) * slots)
        file.flush()
        return os.dup(file.fileno())


class ConnectionBalancer:
    """One worker's part in it; see :class:`~qabel_block.listening.ports.AcceptGate`."""

    def __init__(self, table: ConnectionTable, slot: int) -> None:
        self._table = table
        self._slot = slot
        self._connections = 0
        self._present = False

    def join(self) -> None:
        """Take part from now on."""
        self._present = True
        self._table[self._slot] = self._connections

    def leave(self) -> None:
        """Take part no more: nobody has to wait for this worker."""
        self._present = False
        self._table[self._slot] = ABSENT

    def count(self, connections: int) -> None:
        """Take note of how many connections there are now."""
        self._connections = connections
        if self._present:
            self._table[self._slot] = connections

    def excess(self) -> int:
        """Return how many connections this worker has more than it should: than the
        worker that has the fewest, and the tolerance."""
        lowest = self.lowest()
        return max(0, self._connections - lowest - lowest // TOLERANCE)

    def lowest(self) -> int:
        """Return how many connections the worker has that has the fewest."""
        return self._table.lowest()
