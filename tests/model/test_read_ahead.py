"""Recordings are read ahead in order, as many as fit into the memory, and a very long one is alone in it."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadwise.model.read_ahead import IN_FLIGHT, OF_A_BATCH, ReadAhead, Task


class Signal:
    """Something that can be counted while it is in memory."""


def tasks_of(sizes: list[int]) -> Iterator[Task[int]]:
    return (Task(lambda number=number: number, size) for number, size in enumerate(sizes))


@given(
    sizes=st.lists(st.sampled_from((0, 10, IN_FLIGHT // 10, OF_A_BATCH, IN_FLIGHT, 9 * IN_FLIGHT)), max_size=40),
    batch=st.integers(1, 7),
    jobs=st.integers(0, 3),
)
@settings(max_examples=60, deadline=None)
def test_batches_are_in_order_and_bounded(sizes: list[int], batch: int, jobs: int) -> None:
    batches = list(ReadAhead(tasks_of(sizes), batch, jobs))
    assert [number for each in batches for number in each] == list(range(len(sizes)))
    for each in batches:
        assert 1 <= len(each) <= batch
        assert len(each) == 1 or sum(sizes[number] for number in each) <= OF_A_BATCH


@given(count=st.integers(0, 40), batch=st.integers(1, 7))
@settings(max_examples=30, deadline=None)
def test_short_recordings_are_in_full_batches(count: int, batch: int) -> None:
    found = list(ReadAhead(tasks_of([1000] * count), batch, 2))
    assert found == [list(range(count))[first : first + batch] for first in range(0, count, batch)]


def test_64_recordings_of_two_minutes_are_a_batch_at_every_frequency_of_a_recipe() -> None:
    for frequency in (128, 257):
        assert len(next(iter(ReadAhead(tasks_of([12 * 120 * frequency] * 70), 64, 1)))) == 64


@pytest.mark.parametrize("jobs", [0, 2])
def test_no_more_is_read_than_fits_and_a_day_is_read_when_the_day_before_is_gone(jobs: int) -> None:
    alive: weakref.WeakSet[Signal] = weakref.WeakSet()
    seen: list[int] = []
    lock = threading.Lock()

    def read() -> Signal:
        with lock:
            seen.append(len(alive))
            signal = Signal()
            alive.add(signal)
            return signal

    sizes = [2 * IN_FLIGHT] * 3 + [IN_FLIGHT // 4] * 9
    for batch in ReadAhead((Task(read, size) for size in sizes), 64, jobs):
        batch.clear()
    assert seen[:3] == [0, 0, 0]
    assert max(seen) == 3  # of a quarter each, beside the one that is read


def test_without_jobs_the_caller_reads() -> None:
    threads = list(ReadAhead([Task(threading.get_ident, 1)] * 5, 2, 0))
    assert threads == [[threading.get_ident()] * 2, [threading.get_ident()] * 2, [threading.get_ident()]]


def test_an_unfinished_iteration_ends_its_threads() -> None:
    before = threading.active_count()
    batches = iter(ReadAhead(tasks_of([1] * 100), 2, 3))
    assert list(islice(batches, 2)) == [[0, 1], [2, 3]]
    batches.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


@pytest.mark.parametrize("jobs", [0, 2])
def test_an_error_of_a_task_is_raised_in_its_turn(jobs: int) -> None:
    def fail() -> int:
        raise ZeroDivisionError

    batches = iter(ReadAhead([Task(lambda: 1, 1), Task(fail, 1)], 1, jobs))
    assert next(batches) == [1]
    with pytest.raises(ZeroDivisionError):
        next(batches)
