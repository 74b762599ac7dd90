"""Metrics of several processes, added up.

Each worker writes what it counts into files in a directory that its supervisor
has made, and the supervisor reads them. Files are named by the worker's slot, not
by its process: who takes the slot of a worker that is gone goes on counting where
that one has ended, so sums never fall and there are never more files.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    values,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable from which prometheus_client takes the directory."""

_PREFIX = "qabel-block-metrics-"


def write_metrics_to(directory: str, slot: int) -> None:
    """Make this process write what it counts into a directory. It must not have
    made any metric before.

    :param slot: the number by which its files are known from others'.
    """
    os.environ[DIRECTORY] = directory
    values.ValueClass = values.MultiProcessValue(lambda: slot)


def process_registry() -> CollectorRegistry:
    """Return a registry in which there is what can be said of any process."""
    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


class MultiprocessMetrics:
    """What the workers count, seen by their supervisor.

    :ivar directory: where they write, once it is made.
    """

    def __init__(self) -> None:
        self.directory = ""
        self.registry = CollectorRegistry()
        self._pids: dict[int, int] = {}
        self._lock: int | None = None
        self._started = Counter(
            "block_workers_started",
            "Workers that were started, those that replace others included.",
            registry=self.registry,
        )
        Gauge(
            "block_workers", "Workers that live.", registry=self.registry
        ).set_function(lambda: len(self._pids))
        self.registry.register(_Processes(self._pids))

    def start(self) -> None:
        """Make the directory, and remove those of servers that were killed."""
        _remove_abandoned()
        while not self.directory:
            directory = tempfile.mkdtemp(prefix=_PREFIX)
            self._lock = _locked(directory)
            # Another server may have taken it for an abandoned one meanwhile.
            if self._lock is not None or os.path.isdir(directory):
                self.directory = directory
        MultiProcessCollector(self.registry, self.directory)

    def stop(self) -> None:
        """Remove it."""
        shutil.rmtree(self.directory, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def began(self, slot: int, pid: int) -> None:
        """Take note that a process is the worker of a slot now."""
        self._pids[slot] = pid
        self._started.inc()

    def ended(self, slot: int) -> None:
        """Take note that the worker of a slot is gone, and with it what it had
        under way. What it has counted stays."""
        del self._pids[slot]
        mark_process_dead(slot, self.directory)


def _locked(directory: str) -> int | None:
    """Lock a directory until the descriptor is closed, by whatever end of this
    process; return ``None`` if another process has locked it or it is not ours."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        if os.fstat(descriptor).st_uid == os.geteuid():
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None


def _remove_abandoned() -> None:
    for directory in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        descriptor = _locked(str(directory))
        if descriptor is not None:
            shutil.rmtree(directory, ignore_errors=True)
            os.close(descriptor)


class _Processes(Collector):
    """Process metrics of the supervisor and its workers, told apart by a label."""

    def __init__(self, pids: Mapping[int, int]) -> None:
        self._pids = pids

    def collect(self) -> Iterable[Metric]:
        """Called when somebody looks."""
        families: dict[str, Metric] = {}
        processes = {f"worker-{slot}": pid for slot, pid in self._pids.items()}
        for name, pid in {"supervisor": os.getpid(), **processes}.items():
            for metric in _of_process(pid):
                family = families.setdefault(
                    metric.name, Metric(metric.name, metric.documentation, metric.type)
                )
                for sample in metric.samples:
                    labels = {**sample.labels, "process": name}
                    family.add_sample(sample.name, labels, sample.value)
        return families.values()


def _of_process(pid: int) -> Iterable[Metric]:
    return ProcessCollector(pid=lambda: pid, registry=None).collect()
