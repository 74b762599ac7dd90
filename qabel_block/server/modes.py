"""Decides how this process serves: alone, with workers, or as one of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from prometheus_client import CollectorRegistry
from twisted.application.service import Service
from twisted.internet.protocol import Factory

from qabel_block.config.config import Config, PostgresLedger
from qabel_block.factories import check_ledger
from qabel_block.listening.listeners import Inherited, Listeners
from qabel_block.log.access import WriteAccess, write_to_twisted
from qabel_block.metrics.definitions import Metrics
from qabel_block.metrics.multiprocess import (
    MultiprocessMetrics,
    process_registry,
    write_metrics_to,
)
from qabel_block.metrics.server import MetricsService
from qabel_block.processes.balancing import ConnectionBalancer, ConnectionTable
from qabel_block.processes.launcher import Launcher
from qabel_block.processes.supervisor import Supervisor
from qabel_block.processes.worker import WorkerLifecycle
from qabel_block.processes.worker_spec import WorkerSpec
from qabel_block.server.composition import compose
from qabel_block.server.lifecycle import Lifecycle, SignalLifecycle
from qabel_block.server.service import BlockService
from qabel_block.server.startup_banner import startup_banner
from qabel_block.server.systemd import SystemdNotifier


def make_service(
    config: Config,
    arguments: Sequence[str],
    spec: WorkerSpec | None,
    reactor: Any,
    write_access: WriteAccess = write_to_twisted,
    changes_user: bool = False,
    greet: Callable[[str], object] | None = None,
) -> Service:
    """Return the service that ``config`` describes.

    :param arguments: the options as they were typed, for workers to read again.
    :param spec: set in a worker.
    :param write_access: takes note of each request.
    :param changes_user: whether the process is to become another user's before the
        service starts; only then may a file be made.
    :param greet: shows what a terminal is told once the server listens.
    :raises CannotListen: if an endpoint is wrongly described.
    :raises NotMigrated: if the database says that its schema is not ours.
    :raises CannotStart: if a SQLite ledger can't be made or used.
    """
    if spec is not None:
        return _worker(config, spec, reactor, write_access)
    if not changes_user or isinstance(config.ledger, PostgresLedger):
        check_ledger(config.ledger)
    if config.processes == 1:
        control = SignalLifecycle(reactor, SystemdNotifier())
        return _serving(config, control, reactor, write_access, greet=greet)
    return _supervisor(config, arguments, reactor)


def _serving(
    config: Config,
    control: Lifecycle,
    reactor: Any,
    write_access: WriteAccess,
    inherited: Inherited | None = None,
    greet: Callable[[str], object] | None = None,
) -> Service:
    """Return a service that serves requests, and its own metrics if wanted."""

    def tell(urls: list[str]) -> None:
        if greet is not None:
            greet(startup_banner(config, urls))

    if config.metrics is None:
        parts = compose(config, reactor, inherited, write_access=write_access)
        return BlockService(parts, control, config.drain, reactor, tell)
    registry = process_registry()
    metrics = Metrics(registry)
    parts = compose(config, reactor, inherited, metrics, write_access)
    service = BlockService(parts, control, config.drain, reactor, tell)
    count = metrics.buffered.flush
    return MetricsService(service, config.metrics.endpoint, registry, reactor, count)


def _supervisor(config: Config, arguments: Sequence[str], reactor: Any) -> Service:
    metrics = MultiprocessMetrics() if config.metrics is not None else None
    service = Supervisor(
        Listeners(reactor, config.endpoints, Factory()),
        Launcher(reactor, arguments, config.processes, config.drain, metrics),
        SignalLifecycle(reactor, SystemdNotifier()),
        config.processes,
        reactor,
    )
    if config.metrics is None or metrics is None:
        return service
    return MetricsService(service, config.metrics.endpoint, metrics.registry, reactor)


def make_adopted_service(
    config: Config,
    sockets: Sequence[int],
    control: Lifecycle,
    reactor: Any,
    write_access: WriteAccess = write_to_twisted,
) -> Service:
    """Return a service that listens on sockets that somebody else has opened.

    :param sockets: descriptors, one for each endpoint of ``config``.
    :param write_access: takes note of each request.
    :raises CannotListen: if there is no such address for metrics.
    :raises NotMigrated: if the database says that its schema is not ours.
    :raises CannotStart: if a SQLite ledger can't be made or used.
    """
    check_ledger(config.ledger)
    inherited = Inherited(tuple(sockets))
    return _serving(config, control, reactor, write_access, inherited)


def _worker(
    config: Config, spec: WorkerSpec, reactor: Any, write_access: WriteAccess
) -> Service:
    inherited = Inherited(
        spec.sockets, ConnectionBalancer(ConnectionTable(spec.table), spec.slot)
    )
    metrics = None
    if spec.metrics is not None:
        write_metrics_to(spec.metrics, spec.slot)
        metrics = Metrics(CollectorRegistry())
    parts = compose(config, reactor, inherited, metrics, write_access)
    return BlockService(parts, WorkerLifecycle(reactor), config.drain, reactor)
