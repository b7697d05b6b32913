"""Turn SIGTERM into an exception where it is safe to stop; elsewhere record it. SIGKILL may follow in half a minute."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, SimpleNamespace

EXIT_STATUS = 128 + signal.SIGTERM  # 143, as a shell reports a process that SIGTERM ended


class Interrupted(BaseException):
    """SIGTERM was received. No Exception, as KeyboardInterrupt, so that no handler of errors catches it."""


_state = SimpleNamespace(received=False, may_raise=False)  # of the process, as signals are


@contextmanager
def handle_sigterm() -> Iterator[None]:
    """Let SIGTERM interrupt interruptible blocks instead of ending the process, while the block runs."""
    if threading.current_thread() is not threading.main_thread():  # where no handler can be set
        yield
        return
    _state.received = False
    previous = signal.signal(signal.SIGTERM, _on_sigterm)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
        _state.received = False


@contextmanager
def interruptible() -> Iterator[None]:
    """Run a block that may stop at any line. Raises Interrupted when SIGTERM comes or has come."""
    check_interrupt()
    _state.may_raise = True
    try:
        yield
    finally:
        _state.may_raise = False


def check_interrupt() -> None:
    """Raise Interrupted if SIGTERM has come. For loops: an exception from a signal can get lost, as in a finaliser."""
    if _state.received:
        raise Interrupted


def _on_sigterm(signum: int, frame: FrameType | None) -> None:
    _state.received = True
    if _state.may_raise:
        raise Interrupted
