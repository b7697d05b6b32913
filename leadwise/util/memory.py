"""How a process treats its memory: what it frees and will soon want again stays with it. Knows nothing of its use.

The C library gives what is free at the end of its heap back to the system, and whether that happens at each step hangs
on chance: on what lies behind it. Fresh pages then cost as much as the arithmetic.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4  # of malloc.h
LARGEST = 1 << 25  # bytes; the largest threshold for memory of its own that glibc takes


def tune_malloc() -> None:
    """Lets this process keep the memory of tensors that it frees, for the next ones, instead of giving it back.

    A training step on a CPU takes and frees gigabytes; with fresh pages each time, up to half of it goes to the kernel.
    Does nothing where the C library has no `mallopt` (it is glibc's and musl's).
    """
    _mallopt((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1))


def tune_malloc_for_preparation() -> None:
    """The same for what is smaller than 32 MB, 64 MB at most: for recordings, one after the other."""
    _mallopt((M_MMAP_THRESHOLD, LARGEST), (M_TRIM_THRESHOLD, 2 * LARGEST))


def freeze_gc() -> None:
    """Lets the garbage collector pass over the objects that there are by now, of imported modules above all: they live
    as long as the process, and to look through them takes a tenth of a second, each time."""
    gc.freeze()


def _mallopt(*settings: tuple[int, int]) -> None:
    with contextlib.suppress(OSError, AttributeError, TypeError):
        library = ctypes.CDLL(None)
        for name, value in settings:
            library.mallopt(name, value)
