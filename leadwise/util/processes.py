"""Lock code against other threads, also in a process that was forked while one of them held the lock."""

from __future__ import annotations

import os
from threading import Lock

_IMPORTING_PROCESS = os.getpid()


def is_forked() -> bool:
    """Return whether this process was forked from the one that imported this module."""
    return os.getpid() != _IMPORTING_PROCESS


class ProcessLock:
    """A lock for the threads of one process. A forked child begins with a free one of its own: in the parent another
    thread may have held the lock, and it does not exist in the child."""

    def __init__(self) -> None:
        self.locks: dict[int, Lock] = {}  # by process

    def __enter__(self) -> None:
        self.locks.setdefault(os.getpid(), Lock()).acquire()

    def __exit__(self, *error: object) -> None:
        self.locks[os.getpid()].release()
