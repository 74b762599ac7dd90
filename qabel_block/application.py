"""Decides how this process serves: alone, with workers, or as one of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prometheus_client import CollectorRegistry
from twisted.application.service import Service
from twisted.internet.protocol import Factory

from qabel_block.composition import compose
from qabel_block.config import Config
from qabel_block.control import Control, SignalControl
from qabel_block.ledger.first_look import look_at_schema
from qabel_block.listening.listeners import Inherited, Listeners
from qabel_block.metrics.catalogue import Metrics
from qabel_block.metrics.server import WithMetrics
from qabel_block.metrics.sharing import SharedMetrics, own_registry, share_through
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
    if config.processes == 1:
        return _alone(config, reactor)
    return _supervisor(config, arguments, reactor)


def _alone(config: Config, reactor: Any) -> Service:
    return _with_own_metrics(config, SignalControl(reactor, Notifier()), reactor)


def _with_own_metrics(
    config: Config, control: Control, reactor: Any, inherited: Inherited | None = None
) -> Service:
    endpoint = config.metrics_endpoint
    if endpoint is None:
        parts = compose(config, reactor, inherited)
        return BlockService(parts, control, config.drain, reactor)
    registry = own_registry()
    parts = compose(config, reactor, inherited, Metrics(registry))
    service = BlockService(parts, control, config.drain, reactor)
    return WithMetrics(service, endpoint, registry, reactor)


def _supervisor(config: Config, arguments: Sequence[str], reactor: Any) -> Service:
    endpoint = config.metrics_endpoint
    metrics = SharedMetrics() if endpoint is not None else None
    service = Supervisor(
        Listeners(reactor, config.endpoints, Factory()),
        Launcher(reactor, arguments, config.processes, config.drain, metrics),
        SignalControl(reactor, Notifier()),
        config.processes,
        reactor,
    )
    if endpoint is None or metrics is None:
        return service
    return WithMetrics(service, endpoint, metrics.registry, reactor)


def make_adopted_service(
    config: Config, sockets: Sequence[int], control: Control, reactor: Any
) -> Service:
    """Return a service that listens on sockets that somebody else has opened.

    :param sockets: descriptors, one for each endpoint of ``config``.
    :raises CannotListen: if there is no such address for metrics.
    :raises NotMigrated: if the database says that its schema is not ours.
    """
    look_at_schema(config.ledger)
    return _with_own_metrics(config, control, reactor, Inherited(tuple(sockets)))


def _worker(config: Config, order: Order, reactor: Any) -> Service:
    inherited = Inherited(order.sockets, Share(Table(order.table), order.slot))
    metrics = None
    if order.metrics is not None:
        share_through(order.metrics, order.slot)
        metrics = Metrics(CollectorRegistry())
    parts = compose(config, reactor, inherited, metrics)
    return BlockService(parts, WorkerControl(reactor), config.drain, reactor)
