"""Tune glibc's allocator and Python's garbage collector for long computations."""

from __future__ import annotations

import contextlib
import ctypes
import gc

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4  # of malloc.h
MAX_MMAP_THRESHOLD = 1 << 25  # bytes; the largest that glibc accepts


def tune_malloc() -> None:
    """Keep freed memory in the process for the next tensors. The C library may return it to the system in each training
    step, depending on chance; fresh pages then cost as much as the arithmetic. No effect without `mallopt`."""
    _mallopt((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1))


def tune_malloc_for_preparation() -> None:
    """Keep freed blocks below 32 MB, at most 64 MB in all, for reading one recording after the other."""
    _mallopt((M_MMAP_THRESHOLD, MAX_MMAP_THRESHOLD), (M_TRIM_THRESHOLD, 2 * MAX_MMAP_THRESHOLD))


def return_freed_memory() -> None:
    """Return what is freed, but kept by the C library, to the system. No effect without glibc's `malloc_trim`."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def freeze_gc() -> None:
    """Exclude present objects, mostly of imported modules, from garbage collection: a tenth of a second each time."""
    gc.freeze()


def _mallopt(*settings: tuple[int, int]) -> None:
    with contextlib.suppress(OSError, AttributeError, TypeError):
        library = ctypes.CDLL(None)
        for name, value in settings:
            library.mallopt(name, value)
