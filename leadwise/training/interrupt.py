"""SIGTERM as a request that is heard where stopping is safe. Knows nothing of what is stopped.

Whoever ends a container sends SIGTERM and, half a minute later, SIGKILL. What may be broken off at any line stands in a
block `with stoppable()`: there the signal raises `Stopped`. Outside of it the signal is only noted, and the next such
block does not begin.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

EXIT_STATUS = 128 + signal.SIGTERM  # 143, what a shell says of a process that SIGTERM ended


class Interrupted(BaseException):
    """SIGTERM came. Like KeyboardInterrupt it is no Exception, so that nothing takes it for a failure of its own."""


@dataclass
class _State:
    asked: bool = False
    may_raise: bool = False


_state = _State()  # of the process, as signals are


@contextmanager
def handle_sigterm() -> Iterator[None]:
    """While the block runs, SIGTERM stops what is stoppable, instead of ending the process.

    In a thread other than the main one, where no handler can be set, the block runs as it is.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _state.asked = False
    former = signal.signal(signal.SIGTERM, _hear)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)
        _state.asked = False


@contextmanager
def interruptible() -> Iterator[None]:
    """A block that may be broken off at any line: raises Stopped when SIGTERM comes or has come."""
    check_interrupt()
    _state.may_raise = True
    try:
        yield
    finally:
        _state.may_raise = False


def check_interrupt() -> None:
    """Raises Stopped if SIGTERM has come: for loops, since an exception that a signal raises can get lost, as in the
    finaliser of an object."""
    if _state.asked:
        raise Interrupted


def _hear(signum: int, frame: FrameType | None) -> None:
    _state.asked = True
    if _state.may_raise:
        raise Interrupted
