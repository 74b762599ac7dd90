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
    room = max(1, limit - OTHERS)
    log.warn(
        "the limit of open files, {limit}, leaves room for {room} connections",
        limit=limit,
        room=room,
    )
    return room
