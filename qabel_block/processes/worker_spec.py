"""What a supervisor passes to a worker through the environment."""

from __future__ import annotations

import json
from collections.abc import MutableMapping

from attrs import asdict, evolve, frozen
from twisted.python.usage import UsageError

from qabel_block.config.config import Config

VARIABLE = "QABEL_BLOCK_WORKER"

REPORTS = 3
COMMANDS = 4
"""The worker's ends of two pipes, to the supervisor and from it."""

DRAIN = b"d"
CUT = b"c"
"""Commands: stop; stop waiting for what is under way. The end of the pipe means
the end of the supervisor, and to stop."""

READY = b"r"
"""A report: connections are accepted."""


@frozen
class WorkerSpec:
    """A worker's place among the others.

    :ivar number: from 1; a successor has the same.
    :ivar table: descriptor of the table of connections.
    :ivar slot: the worker's own line in it.
    :ivar sockets: descriptors of the listening sockets, one for each endpoint.
    :ivar metrics: the directory in which workers leave their metrics, if they are
        wanted.
    """

    number: int
    table: int
    slot: int
    sockets: tuple[int, ...]
    metrics: str | None = None

    def to_environment(self) -> dict[str, str]:
        """Return what has to be in the worker's environment."""
        return {VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def from_environment(
        cls, environment: MutableMapping[str, str]
    ) -> WorkerSpec | None:
        """Return the order, if this process is a worker, and take it out of the
        environment: it is not for processes that the worker may start.

        :raises UsageError: if somebody else has put something there.
        """
        given = environment.pop(VARIABLE, None)
        if given is None:
            return None
        try:
            values = json.loads(given)
            return cls(**{**values, "sockets": tuple(values["sockets"])})
        except (KeyError, TypeError, ValueError):
            raise UsageError(f"{VARIABLE} is no known variable") from None

    def adapt(self, config: Config) -> Config:
        """Return what differs for one worker."""
        return config_of_worker(config, self.number)


def config_of_worker(config: Config, number: int) -> Config:
    """Return what differs for one worker: two can't rotate one log file."""
    file = config.log.file
    if file is None:
        return config
    numbered = file.with_name(f"{file.stem}-{number}{file.suffix}")
    return evolve(config, log=evolve(config.log, file=numbered))
