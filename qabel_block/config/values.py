"""Reads the values of options; what is wrong is a ``ValueError`` that says so."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from stat import S_ISDIR
from unicodedata import category
from urllib.parse import urlsplit

from qabel_block.model import UNLIMITED
from qabel_block.names import is_token, is_user_name, shown

SQLITE = "sqlite:///"
_YES = frozenset({"1", "true", "yes", "on"})
_NO = frozenset({"0", "false", "no", "off"})
_ENDPOINTS = frozenset({"tcp", "tcp6", "ssl", "tls", "unix", "systemd", "haproxy"})

_URI_PREFIX = re.compile(r"(/[A-Za-z0-9_~-]+)+")
_INTEGER = re.compile(r"-?[0-9]+")
_DIGITS = 18
_SIZE = re.compile(r"([0-9]+)(?:([KMGT])(?:iB)?)?")
_FACTORS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SHOWN_PATH = 200
_LARGEST_NUMBER = 2**31 - 1
_LARGEST_SIZE = 2**63 - 1
"""What the ledger's columns can hold."""

_ORIGIN = re.compile(
    r"([a-z][a-z0-9+.-]*)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5}|)/?"
)
_URL = re.compile(
    r"https?://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?(/[!\x22$-;=@-~]*)?",
    re.IGNORECASE | re.ASCII,
)
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def _quoted(value: str) -> str:
    """Return a wrong value for people, who see where it ends."""
    return f"'{shown(value)}'"


def printable(value: str) -> str:
    """Anything without control characters, and UTF-8. It is in no error."""
    if any(category(character) == "Cc" for character in value):
        raise ValueError("there is a control character in it")
    if any(category(character) == "Cs" for character in value):
        raise ValueError("it is not UTF-8")
    return value


def text(value: str) -> str:
    """Anything but nothing."""
    if not value:
        raise ValueError("must not be empty")
    return value


def flag(value: str) -> bool:
    """A yes or a no, from the environment."""
    if value.lower() in _YES:
        return True
    if value.lower() in _NO:
        return False
    raise ValueError(f"{_quoted(value)} is neither true nor false")


def port(value: str) -> int:
    """A TCP port; 0 is any that is free."""
    number = _integer(value)
    if not 0 <= number <= 65535:
        raise ValueError(f"{_quoted(value)} is no port (0 to 65535)")
    return number


def positive(value: str) -> int:
    """A number of at least 1, and less than 2^31."""
    number = _integer(value)
    if number < 1:
        raise ValueError(f"{_quoted(value)} is less than 1")
    return number


def not_negative(value: str) -> int:
    """A number of at least 0, and less than 2^31: seconds are then 68 years."""
    number = _integer(value)
    if number < 0:
        raise ValueError(f"{_quoted(value)} is less than 0")
    return number


def size(value: str) -> int:
    """A number of bytes: ``1048576``, ``1024K``, ``1M`` or ``1MiB``.

    Suffixes are powers of 1024, in capitals. ``KB`` is refused: some take it for
    1000 bytes.
    """
    match = _SIZE.fullmatch(value)
    if match is None:
        raise ValueError(f"{_quoted(value)} is no size such as 1048576, 500M or 10GiB")
    number, suffix = match.groups(default="")
    # Not converted if it is too long: that takes quadratic time.
    if len(number) > 19 or int(number) * _FACTORS[suffix] > _LARGEST_SIZE:
        raise ValueError(f"{_quoted(value)} is too large")
    return int(number) * _FACTORS[suffix]


def positive_size(value: str) -> int:
    """A number of bytes, at least 1."""
    count = size(value)
    if count < 1:
        raise ValueError(f"{_quoted(value)} is less than 1")
    return count


def user_name(value: str) -> str:
    """The name of a user of built-in accounts."""
    if not is_user_name(value):
        raise ValueError(
            f"{_quoted(value)} is no user name: 1 to 64 of a-z 0-9 . _ -, a letter or"
            " digit first"
        )
    return value


def builtin_token(value: str) -> str:
    """A token of built-in accounts."""
    if not is_token(value):
        raise ValueError("it is no token (qb_ and at least 22 of A-Z a-z 0-9 _ -)")
    return value


def quota(value: str) -> int:
    """A number of bytes, or ``unlimited``."""
    return UNLIMITED if value == "unlimited" else size(value)


def one_of(*choices: str) -> Callable[[str], str]:
    """One of a few words."""

    def parse(value: str) -> str:
        if value not in choices:
            raise ValueError(f"{_quoted(value)} is none of {', '.join(choices)}")
        return value

    return parse


def url(value: str) -> str:
    """An HTTP URL, to which paths are added: it has neither query nor fragment, nor a
    user."""
    try:
        usable = _URL.fullmatch(value) and urlsplit(value).port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("not an http or https URL of host, port and path only")
    return value.rstrip("/")


def uri_prefix(value: str) -> str:
    """The beginning of the paths of URIs; without the slash at its end."""
    prefix = value.removesuffix("/")
    if not _URI_PREFIX.fullmatch(prefix):
        raise ValueError(f"{_quoted(value)} is no prefix of URIs such as /blobs")
    return prefix


def directory(value: str) -> Path:
    """A directory that is there, or can be made."""
    path = _absolute(value)
    if _is_directory(path) is False:
        raise ValueError(f"{shown(value)} is not a directory")
    return _in_directory(path)


def file_in_directory(value: str) -> Path:
    """A file that is there, or can be made."""
    path = _absolute(value)
    if _is_directory(path):
        raise ValueError(f"{shown(value)} is a directory")
    return _in_directory(path)


def _absolute(value: str) -> Path:
    try:
        return Path(text(value)).expanduser().absolute()
    except RuntimeError:
        raise ValueError(f"{shown(value)}: there is no such user") from None
    except OSError as error:
        raise ValueError(f"the working directory: {error.strerror}") from error


def _in_directory(path: Path) -> Path:
    if not _is_directory(path.parent):
        raise ValueError(f"there is no directory {shown(str(path.parent))}")
    return path


def _is_directory(path: Path) -> bool | None:
    """Say whether a path is that of a directory; ``None`` if there is nothing.

    :raises ValueError: if that can't be found out.
    """
    try:
        return S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ValueError(_unusable(path, error)) from error


def _unusable(path: Path, error: OSError) -> str:
    name = str(path)
    if len(name) > _SHOWN_PATH:
        name = f"{name[:_SHOWN_PATH]}..."
    return f"{shown(name)}: {error.strerror}"


def json_file(value: str) -> Path:
    """A file with a JSON object in it."""
    path = _absolute(value)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"can't read {_unusable(path, error)}") from error
    except ValueError as error:
        raise ValueError(f"{shown(value)} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{shown(value)} is not a JSON object")
    return path


def database(value: str) -> str:
    """A PostgreSQL DSN or URL, or ``sqlite:///FILE``.

    Its text is in no error: there may be a password in it.
    """
    if value.startswith(SQLITE):
        return f"{SQLITE}{file_in_directory(value.removeprefix(SQLITE))}"
    if "://" in value and not value.startswith(("postgresql://", "postgres://")):
        raise ValueError("neither a PostgreSQL DSN or URL nor sqlite:///FILE")
    # Not for SQLite: importing the driver takes long.
    from qabel_block.ledger.postgres.dsn import postgres_parameters

    text(value)
    try:
        postgres_parameters(value)
    except ValueError:
        raise ValueError("not a DSN or URL that PostgreSQL understands") from None
    return value


def proxy(value: str) -> str:
    """The address or network of a proxy, or ``unix``."""
    if value != "unix":
        try:
            ip_network(value)
        except ValueError as error:
            raise ValueError(
                f"{_quoted(value)} is no address, no network and not 'unix'"
            ) from error
    return value


def origin(value: str) -> str:
    """The origin of a web page as browsers spell it (RFC 6454 section 6.1), or ``*``
    for any."""
    if value == "*":
        return value
    match = _ORIGIN.fullmatch(value.lower())
    if match is None:
        raise ValueError(
            f"{_quoted(value)} is no origin such as https://app.example, nor *"
        )
    default = _DEFAULT_PORTS.get(match[1])
    return f"{match[1]}://{match[2]}{match[3] if match[3] != default else ''}"


def endpoint(value: str) -> str:
    """A Twisted server endpoint description.

    Only its kind is looked at: the rest is when the parts are made, which is
    before anything starts.
    """
    kind, colon, rest = value.partition(":")
    if kind not in _ENDPOINTS or not colon or not rest:
        raise ValueError(
            f"{_quoted(value)} is no endpoint such as tcp:8888 or unix:/path"
        )
    if kind == "haproxy" and rest.startswith(("ssl:", "tls:")):
        # Twisted would expect the PROXY protocol within TLS, where nobody sends it.
        raise ValueError(
            f"{_quoted(value)}: the PROXY protocol goes with tcp and unix only"
        )
    return value


def _integer(value: str) -> int:
    if not _INTEGER.fullmatch(value):
        raise ValueError(f"{_quoted(value)} is not a whole number")
    # Not converted if it is too long: that takes quadratic time.
    if len(value) > _DIGITS or int(value) > _LARGEST_NUMBER:
        raise ValueError(f"{_quoted(value)} is too large")
    return int(value)
