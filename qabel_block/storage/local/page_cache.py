"""Opens and reads what the kernel has in memory, and never waits for a disk.

Linux can be asked to fail rather than to wait: ``openat2`` with
``RESOLVE_CACHED`` (5.12) and ``preadv2`` with ``RWF_NOWAIT`` (4.14). So these
calls may be made on the reactor's thread. Where kernel or file system do not know
them, nothing is ever in memory.
"""

from __future__ import annotations

import ctypes
import os
import stat
import sys

_OPENAT2 = 437
_AT_FDCWD = -100
_NO_MAGIC_LINKS, _NO_SYMBOLIC_LINKS, _CACHED = 0x02, 0x04, 0x20
_RWF_NOWAIT = getattr(os, "RWF_NOWAIT", 0)


class _How(ctypes.Structure):
    """``struct open_how``."""

    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


_HOW = _How(
    os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK,
    0,
    _CACHED | _NO_SYMBOLIC_LINKS | _NO_MAGIC_LINKS,
)

# With the interpreter's lock held: giving it away would take longer.
_syscall = ctypes.PyDLL(None).syscall
_syscall.restype = ctypes.c_long


class PageCache:
    """The kernel's memory of files.

    :param size: the most bytes of one read.
    """

    def __init__(self, size: int) -> None:
        # Used again and again: a new one would have to be filled with zeros.
        self._buffer = memoryview(bytearray(size))

    def open(self, path: bytes) -> int | None:
        """Open a regular file for reading, if the way there is in memory.

        :param path: absolute; no part of it may be a symbolic link.
        :return: a descriptor; ``None`` for whatever reason there is none.
        """
        if sys.platform != "linux" or not _RWF_NOWAIT:
            return None
        how, size = ctypes.byref(_HOW), ctypes.sizeof(_HOW)
        descriptor = _syscall(_OPENAT2, _AT_FDCWD, path, how, size)
        if descriptor < 0:
            return None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            return None
        return int(descriptor)

    def read(self, descriptor: int, size: int, offset: int) -> bytes:
        """Return up to ``size`` bytes from ``offset`` on, as far as they are in
        memory; ``b""`` if none is, or there are none."""
        buffer = self._buffer[:size]
        try:
            count = os.preadv(descriptor, [buffer], offset, _RWF_NOWAIT)
        except OSError:
            return b""
        return bytes(buffer[:count])
