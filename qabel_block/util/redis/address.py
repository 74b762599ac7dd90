"""Where Redis is and how to log in, as ``--redis-url`` says it.

Nothing here may import the reactor: options are read before there is one.
"""

from __future__ import annotations

import re
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from attrs import field, frozen

REDIS_PORT = 6379
SENTINEL_PORT = 26379

_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]:@/\s]+)(?::(?P<port>\d{1,5}))?")


@frozen
class RedisAddress:
    """A Redis server.

    :ivar hosts: its host and port; with ``master`` those of the Sentinels that know
        where it is.
    :ivar path: of its socket in the file system, instead of a host.
    :ivar tls: whether to use TLS and to verify the certificate.
    :ivar master: the name that Sentinels have for it.
    :ivar user: of Redis' access control lists.
    """

    hosts: tuple[tuple[str, int], ...] = ()
    path: str | None = None
    tls: bool = False
    master: str | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int = 0


def parse_redis_url(url: str) -> RedisAddress:
    """Read ``redis://``, ``rediss://``, ``unix://`` or ``redis+sentinel://``.

    :raises ValueError: with one line that has nothing of the URL in it, since there
        may be a password in that.
    """
    if any(character <= " " or character == "\x7f" for character in url):
        raise ValueError("a URL has no spaces or control characters")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError("not a URL") from None
    if parts.scheme not in ("redis", "rediss", "unix", "redis+sentinel"):
        raise ValueError(
            "not a URL of redis://, rediss://, unix:// or redis+sentinel://"
        )
    if parts.fragment or "#" in url:
        raise ValueError("a '#' in it must be written as %23")
    login, _, hosts = parts.netloc.rpartition("@")
    user, password = _read_login(login)
    if parts.scheme == "unix":
        if hosts or len(parts.path) < 2:
            raise ValueError("unix:// needs an absolute path, as in unix:///run/redis")
        return RedisAddress(
            path=unquote(parts.path),
            user=user,
            password=password,
            database=_read_database("", parts),
        )
    master, number = None, parts.path.removeprefix("/")
    if parts.scheme == "redis+sentinel":
        name, _, number = number.partition("/")
        master = unquote(name)
        if not master:
            raise ValueError("it names no master, as in redis+sentinel://HOST/MASTER")
    port = SENTINEL_PORT if master else REDIS_PORT
    found = tuple(_read_host(host, port) for host in hosts.split(","))
    if len(found) > 1 and not master:
        raise ValueError("several hosts go with redis+sentinel:// only")
    return RedisAddress(
        found,
        tls=parts.scheme == "rediss",
        master=master,
        user=user,
        password=password,
        database=_read_database(number, parts),
    )


def _read_login(login: str) -> tuple[str | None, str | None]:
    if not login:
        return None, None
    user, colon, password = login.partition(":")
    if not colon or not password:
        raise ValueError("before the '@' there must be USER:PASSWORD or :PASSWORD")
    return unquote(user) or None, unquote(password)


def _read_host(host: str, default_port: int) -> tuple[str, int]:
    match = _HOST.fullmatch(host)
    port = int(match["port"] or default_port) if match else 0
    if match is None or not 0 < port < 65536:
        raise ValueError("it must name a host, or HOST:PORT")
    return match["host"].strip("[]"), port


def _read_database(number: str, parts: SplitResult) -> int:
    query = parse_qsl(parts.query, keep_blank_values=True)
    if parts.query and (len(query) != 1 or query[0][0] != "db" or number):
        raise ValueError("behind a '?' there may only be the database, as in db=1")
    text = query[0][1] if query else number
    if text and not (text.isascii() and text.isdigit() and len(text) < 6):
        raise ValueError("the database must be a number")
    return int(text or 0)
