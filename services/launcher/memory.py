"""Keeps the idle node small: glibc holds on to what starting up has needed unless it is told otherwise."""

import ctypes
import gc
import os
import platform
import re
from contextlib import suppress
from pathlib import Path

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""From glibc's malloc.h."""
LARGE_BYTES = 4 * 1024 * 1024
PROCESS_MADVISE = 440
"""Number of the system call, on the machines below."""
HAS_ITS_NUMBER = re.compile(r"x86_64|aarch64|arm|riscv")
MADV_DONTNEED, MADV_PAGEOUT = 4, 21
SETTLED_S = 5.0
"""After this long a process has done what only its start needs."""

_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) r-.. \S+ \S+ \S+ +/")
"""What nobody writes to, of a file: address of its begin and its end."""
_CODE = re.compile(
    r"^([0-9a-f]+)-([0-9a-f]+) r-xp \S+ \S+ \S+ +/.*\n(?:[A-Z]\w+:.*\n)*?Private_Dirty: +0 kB$", re.MULTILINE
)
"""Code of files that is as it is in the file: what the loader has changed cannot be had again."""


def bound_heap() -> None:
    """Lets all threads allocate from one pool, and what is large go back at once; before there are any.

    Threads of ours wait for disks and the engine and rarely allocate at the same time, but each pool keeps
    what it once had: about 15 MB altogether. Left alone, glibc takes the memory in which the first password
    was hashed for something that is needed all the time, and keeps its 19 MB.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_ARENA_MAX, 1)
        libc.mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
        libc.mallopt(M_TRIM_THRESHOLD, 2 * LARGE_BYTES)


def give_back() -> None:
    """Returns what starting up has left unused to the system: about 15 MB. Blocking, some 20 ms."""
    gc.collect()
    trim_heap()


def trim_heap() -> None:
    """Returns what is free in the heap to the system; glibc itself does so at its end alone. Blocking."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


class _Range(ctypes.Structure):
    _fields_ = [("begin", ctypes.c_void_p), ("length", ctypes.c_size_t)]


def page_out(pid: int) -> None:
    """Drops from memory what a process has read of its files; what it still needs is read again. Blocking.

    Does nothing where the kernel, before 5.10, or the rights, CAP_SYS_NICE, do not allow it.
    """
    call = getattr(ctypes.CDLL(None), "syscall", None)
    if call is None or not HAS_ITS_NUMBER.match(platform.machine()):
        return
    with suppress(OSError):
        mappings = Path(f"/proc/{pid}/maps").read_text()
        descriptor = os.pidfd_open(pid)
        try:
            for begin, end in _MAPPING.findall(mappings):
                part = _Range(int(begin, 16), int(end, 16) - int(begin, 16))
                call(PROCESS_MADVISE, descriptor, ctypes.byref(part), ctypes.c_ulong(1), MADV_PAGEOUT, 0)
        finally:
            os.close(descriptor)


def unmap_code() -> None:
    """Lets go of the code that only starting up needed; what is still needed is mapped again at its next use.

    Unlike `page_out` this needs no rights, and the code stays in the system's cache as long as there is room.
    Code that is not as in its file stays, so nothing is lost. Blocking.
    """
    madvise = getattr(ctypes.CDLL(None), "madvise", None)
    if madvise is None:
        return
    for begin, end in _CODE.findall(Path("/proc/self/smaps").read_text()):
        madvise(
            ctypes.c_void_p(int(begin, 16)), ctypes.c_size_t(int(end, 16) - int(begin, 16)), MADV_DONTNEED
        )
