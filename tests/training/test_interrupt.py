"""SIGTERM interrupts where that is safe."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from leadwise.training.interrupt import Interrupted, check_interrupt, handle_sigterm, interruptible


def test_sigterm_raises_in_interruptible_blocks_and_is_recorded_outside() -> None:
    with handle_sigterm():
        os.kill(os.getpid(), signal.SIGTERM)  # nothing happens here
        with pytest.raises(Interrupted), interruptible():
            pytest.fail("the block must not begin")
    with handle_sigterm(), pytest.raises(Interrupted), interruptible():
        check_interrupt()
        os.kill(os.getpid(), signal.SIGTERM)
        pytest.fail("the signal must interrupt the block")
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_in_another_thread_no_handler_is_set() -> None:
    seen = []

    def work() -> None:
        with handle_sigterm(), interruptible():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.SIG_DFL]
