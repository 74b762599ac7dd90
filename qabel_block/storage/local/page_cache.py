"""Reads and sends files from the kernel's page cache, without blocking on a disk.

Linux can be asked to fail rather than to wait: ``openat2`` with
``RESOLVE_CACHED`` (5.12) and ``preadv2`` with ``RWF_NOWAIT`` (4.14). ``sendfile``
can't, so ``mincore`` is asked before. So these calls may be made on the reactor's
thread. Where kernel or file system do not know them, nothing is ever in memory.
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


class _OpenHow(ctypes.Structure):
    """``struct open_how``."""

    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


_OPEN_HOW = _OpenHow(
    os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK,
    0,
    _CACHED | _NO_SYMBOLIC_LINKS | _NO_MAGIC_LINKS,
)

_HOW = ctypes.byref(_OPEN_HOW), ctypes.sizeof(_OPEN_HOW)

# With the interpreter's lock held: giving it away would take longer.
_libc = ctypes.PyDLL(None)
_openat2 = _libc.syscall
_openat2.restype = ctypes.c_long
_openat2.argtypes = (
    *(ctypes.c_long, ctypes.c_int, ctypes.c_char_p),
    *(ctypes.POINTER(_OpenHow), ctypes.c_size_t),
)

_PROT_READ, _MAP_SHARED = 1, 1
_MAP_FAILED = ctypes.c_void_p(-1).value
_PAGE = os.sysconf("SC_PAGE_SIZE")
_MOST_PAGES = 1024
"""Of which ``mincore`` is asked at a time."""
_IN_MEMORY = bytes(range(1, 256, 2))
"""What ``mincore`` may say of a page that is in memory: only the last bit means
anything."""

_mmap, _munmap, _mincore = _libc.mmap, _libc.munmap, _libc.mincore
_mmap.restype = ctypes.c_void_p
_mmap.argtypes = (
    *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int),
    ctypes.c_longlong if ctypes.sizeof(ctypes.c_long) == 4 else ctypes.c_long,
)
_munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p)


class PageCache:
    """Non-blocking access to files that are in the kernel's page cache.

    :param size: the most bytes of one read.
    """

    def __init__(self, size: int) -> None:
        # Used again and again: a new one would have to be filled with zeros.
        self._buffer = memoryview(bytearray(size))
        self._pages = ctypes.create_string_buffer(_MOST_PAGES)

    def open(self, path: bytes) -> int | None:
        """Open a regular file for reading, if the way there is in memory.

        :param path: absolute; no part of it may be a symbolic link.
        :return: a descriptor; ``None`` for whatever reason there is none.
        """
        if sys.platform != "linux" or not _RWF_NOWAIT:
            return None
        descriptor: int = _openat2(_OPENAT2, _AT_FDCWD, path, *_HOW)
        if descriptor < 0:
            return None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            return None
        return descriptor

    def read(self, descriptor: int, size: int, offset: int) -> bytes:
        """Return up to ``size`` bytes from ``offset`` on, as far as they are in
        memory; ``b""`` if none is, or there are none."""
        buffer = self._buffer[:size]
        try:
            count = os.preadv(descriptor, [buffer], offset, _RWF_NOWAIT)
        except OSError:
            return b""
        return bytes(buffer[:count])

    def send(self, socket: int, descriptor: int, size: int, offset: int) -> int | None:
        """Let the kernel send up to ``size`` bytes from ``offset`` on, if all of them
        are in memory.

        :param socket: does not block.
        :return: how many were sent; 0 if not all are in memory or they can't be sent
            in this way; ``None`` if the socket takes none now.
        """
        size = min(size, (_MOST_PAGES - 1) * _PAGE)
        if not self._is_resident(descriptor, size, offset):
            return 0
        try:
            return os.sendfile(socket, descriptor, offset, size)
        except BlockingIOError:
            return None
        except OSError:
            return 0  # the usual way tells what is wrong, if anything is

    def _is_resident(self, descriptor: int, size: int, offset: int) -> bool:
        """Return whether all pages of a part of a file are in memory.

        One may be dropped before it is sent, but the kernel drops those first that were
        not used for long.
        """
        if sys.platform != "linux" or os.fstat(descriptor).st_uid != os.geteuid():
            return False  # mincore would call everything in memory
        size += offset % _PAGE
        offset -= offset % _PAGE
        pages = -(-size // _PAGE)
        address = _mmap(None, size, _PROT_READ, _MAP_SHARED, descriptor, offset)
        if address == _MAP_FAILED:
            return False
        try:
            if _mincore(address, size, self._pages) != 0:
                return False
        finally:
            _munmap(address, size)
        return not self._pages.raw[:pages].translate(None, _IN_MEMORY)
