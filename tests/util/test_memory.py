"""The allocator's settings, where the C library has them, and objects exempt from garbage collection."""

from __future__ import annotations

import ctypes
import gc

import pytest

from leadwise.util.memory import freeze_gc, tune_malloc, tune_malloc_for_preparation


class Library:
    """Record the settings that a C library gets."""

    def __init__(self) -> None:
        self.settings: dict[int, int] = {}

    def mallopt(self, name: int, value: int) -> None:
        self.settings[name] = value


def test_the_allocator_keeps_freed_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers of malloc.h: -1 trim threshold, -3 mmap threshold, -4 maximum of mmaps."""
    library = Library()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    tune_malloc()
    assert library.settings == {-4: 0, -1: 2**31 - 1}
    library.settings.clear()
    tune_malloc_for_preparation()
    assert library.settings == {-3: 32 << 20, -1: 64 << 20}


@pytest.mark.parametrize("error", [OSError, TypeError])
def test_a_system_without_the_c_library_is_no_error(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    def fail(name: None) -> None:
        raise error("no library")

    monkeypatch.setattr(ctypes, "CDLL", fail)
    tune_malloc()


def test_a_c_library_without_mallopt_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    tune_malloc()


def test_present_objects_are_exempt_from_garbage_collection() -> None:
    try:
        freeze_gc()
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
