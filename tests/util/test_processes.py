"""A forked child knows that it is one, and does not wait for a lock of its parent."""

from __future__ import annotations

import os
import threading

import pytest

from leadwise.util.processes import ProcessLock, is_forked, let_waiting_threads_sleep

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")


def status_of_child(function: object) -> int:
    """Return the exit status of a forked child that calls the function; 1 if it raises, 2 after ten seconds."""
    child = os.fork()
    if child == 0:  # pragma: no cover
        threading.Timer(10, lambda: os._exit(2)).start()
        try:
            os._exit(0 if function() else 3)  # type: ignore[operator]
        except BaseException:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_knows_that_it_was_forked() -> None:
    assert not is_forked()
    assert status_of_child(is_forked) == 0


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_lock_that_the_parent_holds_is_free_in_the_child() -> None:
    lock = ProcessLock()

    def acquire() -> bool:
        with lock:
            return True

    with lock:
        assert status_of_child(acquire) == 0
    assert acquire()


def test_threads_exclude_each_other() -> None:
    lock, inside, most = ProcessLock(), [0], [0]

    def work() -> None:
        for _ in range(300):
            with lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]


def test_waiting_threads_sleep_unless_the_environment_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    let_waiting_threads_sleep()
    assert os.environ["OMP_WAIT_POLICY"] == "active"
    monkeypatch.delenv("OMP_WAIT_POLICY")
    let_waiting_threads_sleep()
    assert os.environ["OMP_WAIT_POLICY"] == "passive"
