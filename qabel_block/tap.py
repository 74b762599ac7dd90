"""What the plugin offers to ``twist`` and ``twistd``."""

from __future__ import annotations

import os
import sys
from typing import Any

from twisted.application.service import IService
from twisted.python.usage import UsageError

from qabel_block.config.command_line import USAGE_ERROR, Options
from qabel_block.config.from_options import configure
from qabel_block.log.setup import access_log, set_up_logging, terminal
from qabel_block.processes.worker_spec import WorkerSpec
from qabel_block.util.clock import use_monotonic_clock

__all__ = ["Options", "makeService"]

CONFIGURATION_ERROR = 78
"""The exit status for a database of another version, or one that can't be made or
used where it is to be (EX_CONFIG of sysexits.h)."""


def makeService(options: Options) -> IService:
    """Return the service that the options describe.

    :raises SystemExit: with one line on stderr, if it can't be made.
    """
    config = configure(options)
    try:
        spec = WorkerSpec.from_environment(os.environ)
        if spec is not None:
            config = spec.adapt(config)
        ours = set_up_logging(config.log, options.parent)
        if not ours and config.processes > 1:
            raise UsageError("--processes needs a log option, such as --log-to-stderr")
    except UsageError as error:
        sys.stderr.write(f"qabel-block: {error}\n")
        raise SystemExit(USAGE_ERROR) from None
    # Only now: what this imports imports the reactor, and the options had to
    # be read first to know which one.
    from twisted.internet import reactor

    from qabel_block.errors import CannotStart, NotMigrated
    from qabel_block.listening.endpoints import CannotListen
    from qabel_block.server.modes import make_service

    use_monotonic_clock(reactor)
    write_access = access_log(ours, reactor)
    try:
        return make_service(
            config,
            options.arguments,
            spec,
            reactor,
            write_access,
            _changes_user(options.parent),
            terminal() if ours else None,
        )
    except CannotListen as error:
        sys.stderr.write(f"qabel-block: {error}\n")
        raise SystemExit(USAGE_ERROR) from None
    except (CannotStart, NotMigrated) as error:
        sys.stderr.write(f"qabel-block: {error}\n")
        raise SystemExit(CONFIGURATION_ERROR) from None


def _changes_user(runner: Any) -> bool:
    """Say whether ``twistd`` was told to become another user, or to change its root,
    before the service starts."""
    if type(runner).__name__ != "ServerOptions":
        return False
    return any(runner[name] is not None for name in ("uid", "gid", "chroot"))
