"""Decides how this process serves: alone, with workers, or as one of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.protocol import Factory

from qabel_block.composition import compose
from qabel_block.config import Config
from qabel_block.control import SignalControl
from qabel_block.ledger.first_look import look_at_schema
from qabel_block.listening.listeners import Inherited, Listeners
from qabel_block.processes.balance import Share, Table
from qabel_block.processes.launcher import Launcher
from qabel_block.processes.order import Order
from qabel_block.processes.supervisor import Supervisor
from qabel_block.processes.worker import WorkerControl
from qabel_block.service import BlockService
from qabel_block.systemd import Notifier


def make_service(
    config: Config, arguments: Sequence[str], order: Order | None, reactor: Any
) -> Service:
    """Return the service that ``config`` describes.

    :param arguments: the options as they were typed, for workers to read again.
    :param order: set in a worker.
    :raises CannotListen: if an endpoint is wrongly described.
    :raises NotMigrated: if the database says that its schema is not ours.
    """
    if order is not None:
        return _worker(config, order, reactor)
    look_at_schema(config.ledger)
    control = SignalControl(reactor, Notifier())
    if config.processes == 1:
        return BlockService(compose(config, reactor), control, config.drain, reactor)
    return Supervisor(
        Listeners(reactor, config.endpoints, Factory()),
        Launcher(reactor, arguments, config.processes, config.drain),
        control,
        config.processes,
        reactor,
    )


def _worker(config: Config, order: Order, reactor: Any) -> Service:
    inherited = Inherited(order.sockets, Share(Table(order.table), order.slot))
    parts = compose(config, reactor, inherited)
    return BlockService(parts, WorkerControl(reactor), config.drain, reactor)
