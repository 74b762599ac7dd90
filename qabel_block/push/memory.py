"""Push within one process."""

from __future__ import annotations

from zope.interface import implementer

from qabel_block.interfaces import IListener, INotifier


@implementer(INotifier)
class MemoryNotifier:
    """Delivers at once what is published, to this process only."""

    _listener: IListener

    def __init__(self) -> None:
        self._joined: set[str] = set()

    def start(self, listener: IListener) -> None:
        """See :meth:`INotifier.start`."""
        self._listener = listener

    async def join(self, prefix: str) -> None:
        """See :meth:`INotifier.join`."""
        self._joined.add(prefix)

    async def leave(self, prefix: str) -> None:
        """See :meth:`INotifier.leave`."""
        self._joined.discard(prefix)

    def publish(self, prefix: str, message: str) -> None:
        """See :meth:`INotifier.publish`."""
        if prefix in self._joined:
            self._listener.deliver(prefix, message)

    def connections(self) -> int:
        """See :meth:`INotifier.connections`: there is no broker."""
        return 0

    async def check(self) -> None:
        """See :meth:`INotifier.check`."""

    async def close(self) -> None:
        """See :meth:`INotifier.close`."""
        self._joined.clear()
