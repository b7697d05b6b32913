"""Results come in order from any backend, and a part whose worker died is done again."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import joblib
import pytest
from joblib.externals.loky.process_executor import TerminatedWorkerError

from leadwise.util import parallel
from leadwise.util.parallel import map_in_order, results_in_order


def die_once(number: int, folder: Path) -> int:
    """Return the number; the first worker that gets 3 is killed."""
    mark = folder / "died"
    if number == 3 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def die(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def fail(number: int) -> int:
    raise ValueError(f"number {number}")


@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing", "sequential"])
def test_results_are_in_order(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "TASKS_HELD", 3)
    with joblib.parallel_config(backend=backend):
        assert list(results_in_order((joblib.delayed(pow)(2, k) for k in range(10)), 2)) == [2**k for k in range(10)]
        assert list(map_in_order(pow, [(2, k) for k in range(10)], 2)) == [2**k for k in range(10)]


def test_the_part_of_a_killed_worker_is_done_again(tmp_path: Path) -> None:
    with joblib.parallel_config(backend="loky"):
        assert list(map_in_order(die_once, [(k, tmp_path) for k in range(8)], 2)) == list(range(8))
    assert (tmp_path / "died").exists()


def test_workers_that_always_die_and_errors_are_raised() -> None:
    with joblib.parallel_config(backend="loky"):
        with pytest.raises(TerminatedWorkerError):
            list(map_in_order(die, [(1,), (2,)], 2))
        with pytest.raises(ValueError, match="number 7"):
            list(map_in_order(fail, [(7,)], 2))
