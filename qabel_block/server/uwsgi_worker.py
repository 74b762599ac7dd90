"""A worker of uWSGI: its options, and its life."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.logger import globalLogBeginner
from twisted.python.usage import UsageError

from qabel_block.config.command_line import Options
from qabel_block.config.config import Config
from qabel_block.config.from_options import configure
from qabel_block.log.observer import PythonLogObserver
from qabel_block.log.setup import access_log, set_up_logging
from qabel_block.processes.worker_spec import config_of_worker
from qabel_block.server.lifecycle import LifecycleCommands
from qabel_block.server.signals import stop_on

_UWSGIS_OWN = ("listen", "processes")


class UwsgiLifecycle:
    """Control of a worker by uWSGI.

    :param uwsgi: uWSGI's module, which only its processes have.
    :param signals: those that tell a worker to end.
    """

    def __init__(
        self, uwsgi: Any, reactor: Any, signals: Sequence[signal.Signals]
    ) -> None:
        self._uwsgi = uwsgi
        self._reactor = reactor
        self._signals = signals

    def start(self, commands: LifecycleCommands) -> None:
        """See :meth:`~qabel_block.server.lifecycle.Lifecycle.start`."""
        stop_on(self._signals, self._reactor, commands.abort_inflight)

    def ready(self) -> None:
        """See :meth:`~qabel_block.server.lifecycle.Lifecycle.ready`."""
        self._uwsgi.accepting()

    def stopping(self) -> None:
        """See :meth:`~qabel_block.server.lifecycle.Lifecycle.stopping`."""


def read_config(
    words: Sequence[str], environment: Mapping[str, str], uwsgi: Any
) -> Config:
    """Return what one worker has to know.

    :param words: the options as they were typed.
    :raises SystemExit: with one line on stderr, if they are wrong.
    :raises UsageError: likewise.
    """
    options = Options(environment)
    options.parseOptions(words)
    for name in _UWSGIS_OWN:
        if name in options.given:
            raise UsageError(f"{options.given[name]}: this is said to uWSGI")
    # Several workers can't share everything.
    added = ["--processes", str(uwsgi.numproc)]
    if options["prometheus-port"]:
        port = options["prometheus-port"] + uwsgi.worker_id()
        added += ["--prometheus-port", str(port)]
    options = Options(environment)
    options.parseOptions([*words, *added])
    config = configure(options)
    if uwsgi.numproc > 1:
        config = config_of_worker(config, uwsgi.worker_id())
    return evolve(config, endpoints=("tcp:0",) * len(uwsgi.sockets))


def serve(uwsgi: Any, signals: Sequence[signal.Signals]) -> None:
    """Serve until uWSGI wants this worker to end.

    :param signals: those by which it says so.
    :raises SystemExit: with one line on stderr, if it can't.
    """
    try:
        config = read_config(sys.argv[1:], os.environ, uwsgi)
        ours = set_up_logging(config.log, None)
    except UsageError as error:
        raise SystemExit(f"qabel-block: {error}") from None
    globalLogBeginner.beginLoggingTo(
        [PythonLogObserver()], redirectStandardIO=False, discardBuffer=True
    )
    # Only now: the options say which one.
    from twisted.internet import reactor

    from qabel_block.errors import CannotStart, NotMigrated
    from qabel_block.listening.endpoints import CannotListen
    from qabel_block.server.modes import make_adopted_service
    from qabel_block.util.clock import use_monotonic_clock

    for descriptor in uwsgi.sockets:
        socket.socket(fileno=os.dup(descriptor)).setblocking(False)
    use_monotonic_clock(reactor)
    control = UwsgiLifecycle(uwsgi, reactor, signals)
    try:
        service = make_adopted_service(
            config, uwsgi.sockets, control, reactor, access_log(ours, reactor)
        )
    except (CannotListen, CannotStart, NotMigrated) as error:
        raise SystemExit(f"qabel-block: {error}") from None
    runs: Any = reactor
    runs.addSystemEventTrigger("before", "shutdown", _stop, service)
    runs.callWhenRunning(service.startService)
    runs.run()


def _stop(service: Any) -> Deferred[None]:
    stopped: Deferred[None] = service.stopService()
    return stopped


def run_worker(signals: Sequence[signal.Signals]) -> None:
    """Serve until one of these signals comes, and end the process.

    A worker that can't serve at the start ends uWSGI, which would start it over and
    over.
    """
    import uwsgi

    status = 0
    try:
        serve(uwsgi, signals)
    except SystemExit as error:
        sys.stderr.write(f"{error.code}\n" if isinstance(error.code, str) else "")
        status = 1
        if uwsgi.masterpid() and uwsgi.workers()[0]["respawn_count"] == 0:
            os.kill(uwsgi.masterpid(), signal.SIGINT)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
