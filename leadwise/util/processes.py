"""Tune the threads of a process, and lock code against other threads, also in a forked process."""

from __future__ import annotations

import os
from threading import Lock

_IMPORTING_PROCESS = os.getpid()


def is_forked() -> bool:
    """Return whether this process was forked from the one that imported this module."""
    return os.getpid() != _IMPORTING_PROCESS


def let_waiting_threads_sleep() -> None:
    """Let OpenMP's threads sleep where they wait for each other, unless OMP_WAIT_POLICY says otherwise; only before
    torch is imported. In a loop they take the cores from those they wait for, if other processes are busy: scoring then
    takes up to five times as long."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


class ProcessLock:
    """A lock for the threads of one process. A forked child begins with a free one of its own: in the parent another
    thread may have held the lock, and it does not exist in the child."""

    def __init__(self) -> None:
        self.locks: dict[int, Lock] = {}  # by process

    def __enter__(self) -> None:
        self.locks.setdefault(os.getpid(), Lock()).acquire()

    def __exit__(self, *error: object) -> None:
        self.locks[os.getpid()].release()
