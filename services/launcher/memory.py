"""Keeps the idle node small: glibc holds on to what starting up has needed unless it is told otherwise."""

import ctypes
import gc

M_ARENA_MAX = -8
"""From glibc's malloc.h."""


def use_one_arena() -> None:
    """Lets all threads allocate from one pool; call it before there are any.

    Threads of ours wait for disks and the engine and rarely allocate at the same time, but each pool keeps
    what it once had: about 15 MB altogether.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_ARENA_MAX, 1)


def give_back() -> None:
    """Returns what starting up has left unused to the system: about 15 MB. Blocking, some 20 ms."""
    gc.collect()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
