"""Makes room for many open files and connections."""

from __future__ import annotations

import resource

from twisted.logger import Logger

log = Logger()

OTHERS = 256
"""Descriptors for everything but clients: dependencies, files, logs."""


def raise_nofile_limit(connections: int) -> int:
    """Raise this process' limit of open descriptors as far as is needed and allowed.

    :param connections: how many clients there may be; 0 is any number.
    :return: how many there is room for; 0 if that was asked for.
    """
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(connections + OTHERS, most) if connections else most
    if limit < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
        limit = wanted
    if connections + OTHERS <= limit:
        return connections
    room = connections_within(limit)
    if connections:
        room = min(room, connections)
    log.warn(
        "the limit of open files, {limit}, leaves room for {room} connections, each"
        " with a transfer; others are answered with 503; raise it (ulimit -n,"
        " LimitNOFILE=)",
        limit=limit,
        room=room,
    )
    return room


def connections_within(limit: int) -> int:
    """Return for how many connections a scarce number of descriptors is enough.

    Half of it at the most is kept for everything else. A connection may need two: its
    own, and that of the file or the connection to S3 that is transferred.
    """
    return max(1, (limit - min(OTHERS, limit // 2)) // 2)
