"""The grammar of names: prefixes, paths, blob keys, versions.

A blob's key is ``<prefix>/<path>~<version>``. ``~`` is in no path, so a blob of
the legacy server (``<prefix>/<path>``) can't be mistaken for one of ours, and
the object that a blob was written for can be read from its key.
"""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Callable
from functools import lru_cache

from qabel_block.model import ObjectName

PREFIX_PATTERN = r"[A-Za-z0-9_-]{1,36}"
SEGMENT_PATTERN = r"[A-Za-z0-9_-]{1,200}"
PATH_PATTERN = rf"{SEGMENT_PATTERN}(?:/{SEGMENT_PATTERN})*"
PATH_LIMIT = 900
"""Characters a path may have in all (PROTOCOL section 2)."""

CONTROL_TYPES = frozenset({"locks", "index", "snapshots"})
"""First segments of the paths of control files."""

IDENTITY = ".qabel-block-installation"
"""The name of the file, or the key of the object, in which storage keeps the id of the
installation it belongs to. No blob has such a key: no prefix has a dot."""

_VERSION_PATTERN = r"[0-9A-HJKMNP-TV-Z]{26}"
_KEY = re.compile(rf"({PREFIX_PATTERN})/({PATH_PATTERN})(?:~({_VERSION_PATTERN}))?")
_PREFIX = re.compile(PREFIX_PATTERN)
REPOSITORY_PATTERN = r"[A-Za-z0-9_.-]{1,64}"
_REPOSITORY = re.compile(REPOSITORY_PATTERN)
_USER_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_TOKEN = re.compile(r"qb_[A-Za-z0-9_-]{22,256}")
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_DIGITS = str.maketrans(_CROCKFORD, "0123456789abcdefghijklmnopqrstuv")


class Versions:
    """Makes versions: unique, and ordered by the time of their making.

    They are ULIDs: 48 bits of milliseconds since 1970 and 80 random bits, in
    26 characters of Crockford's base 32, which sort as text like the times
    they stand for. Within one process they never go back, whatever the clock
    does, and no version is earlier than the one that it is to replace.

    :param now: seconds since 1970.
    :param random_bits: for a number of bits, so many random ones.
    """

    def __init__(
        self,
        now: Callable[[], float],
        random_bits: Callable[[int], int] = secrets.randbits,
    ) -> None:
        self._now = now
        self._random_bits = random_bits
        self._last = 0
        self._lock = threading.Lock()

    def next(self, after: int = 0) -> str:
        """Return a version greater than all that this object made before.

        :param after: milliseconds since 1970 that it must be later than, though the
            clock may say otherwise.
        """
        milliseconds = int(self._now() * 1000)
        with self._lock:
            candidate = milliseconds << 80 | self._random_bits(80)
            value = self._last = max(candidate, self._last + 1)
        if after and value >> 80 <= after:
            # Random anew: other nodes go on from the same version.
            value = after + 1 << 80 | self._random_bits(80)
        return "".join(_CROCKFORD[value >> shift & 31] for shift in range(125, -5, -5))


def is_prefix(name: str) -> bool:
    """Say whether something is of the grammar of prefixes."""
    return _PREFIX.fullmatch(name) is not None


def is_user_name(name: str) -> bool:
    """Say whether something may be the name of a user of built-in accounts."""
    return _USER_NAME.fullmatch(name) is not None


def is_repository_name(name: str) -> bool:
    """Say whether something may be the name of a repository."""
    return _REPOSITORY.fullmatch(name) is not None


def is_token(text: str) -> bool:
    """Say whether something may be a token of built-in accounts: ``qb_`` and at least
    128 random bits."""
    return _TOKEN.fullmatch(text) is not None


def is_control_file(path: str) -> bool:
    """Tell the files with which a restic repository is locked, forgotten and pruned
    from those that hold what is backed up (PROTOCOL section 11)."""
    return path.partition("/")[0] in CONTROL_TYPES


def shown(name: str) -> str:
    """Return any name for people: on one line, as it is but for backslashes, bytes that
    are not UTF-8 (``\\xff``) and what can't be printed (``\\u000a``). No two names look
    the same.
    """
    if name.isprintable() and "\\" not in name:
        return name
    return "".join(map(_shown_character, name))


def _shown_character(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python keeps the byte of a file's name
        return f"\\x{code - 0xDC00:02x}"
    if character == "\\":
        return "\\\\"
    if character.isprintable():
        return character
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def blob_key(name: ObjectName, version: str) -> str:
    """Return the key of the blob that holds this version of an object."""
    return f"{name}~{version}"


def time_of(version: str) -> float:
    """Return when a version was made, in seconds since 1970."""
    return _milliseconds(version) / 1000


def _milliseconds(version: str) -> int:
    return int(version[:10].translate(_DIGITS), 32)


@lru_cache(1024)
def milliseconds_of(key: str) -> int:
    """Return when the version of a blob was made, in milliseconds since 1970; 0 for a
    blob of the legacy server.
    """
    version = key.partition("~")[2]
    return _milliseconds(version) if version else 0


def parse_blob_key(key: str) -> tuple[ObjectName, str | None]:
    """Take a blob's key apart into its object's name and its version.

    The version is ``None`` for a blob of the legacy server.

    :raises ValueError: if this is no key of a blob. Every storage backend
        calls this before it touches anything, so no other name gets through.
    """
    match = _KEY.fullmatch(key)
    if match is None or len(match[2]) > PATH_LIMIT:
        raise ValueError(f"not a blob key: {key!r}")
    return ObjectName(match[1], match[2]), match[3]
