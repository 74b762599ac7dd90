"""One limit on everything that an operation waits for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from twisted.internet.interfaces import IReactorTime

from qabel_block.errors import BlockError, Unavailable


class Deadline:
    """Ends what an operation waits for once its time is up.

    :ivar passed: whether the time is up.

    :param clock: what tells the time.
    :param seconds: from now on.
    """

    def __init__(self, clock: IReactorTime, seconds: float) -> None:
        self.passed = False
        self._seconds = seconds
        self._give_up: Callable[[], object] | None = None
        self._call = clock.callLater(seconds, self._pass)

    @contextmanager
    def ends(self, give_up: Callable[[], object]) -> Iterator[None]:
        """Call ``give_up`` if the time runs out before the block is left.

        ``give_up`` makes whatever the block waits for fail. Blocks are not
        nested.

        :raises Unavailable: if the time is up already, and instead of the
            error that ``give_up`` caused.
        """
        if self.passed:
            raise self.unavailable()
        self._give_up = give_up
        try:
            yield
        except Exception as error:
            if self.passed and not isinstance(error, BlockError):
                raise self.unavailable() from error
            raise
        finally:
            self._give_up = None

    def unavailable(self) -> Unavailable:
        """Return the error of an operation that took too long."""
        return Unavailable("database", f"no answer within {self._seconds:g} seconds")

    def cancel(self) -> None:
        """The operation is over."""
        if self._call.active():
            self._call.cancel()

    def _pass(self) -> None:
        self.passed = True
        if self._give_up is not None:
            self._give_up()
