"""Interrupt, kill and starve trainings, for the tests of this folder."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from leadwise.network import cpu_training
from leadwise.training import epoch as epoch_module
from leadwise.training.fold_state import FoldState


def after_calls(count: int, function: Callable[..., Any], act: Callable[[], None]) -> Callable[..., Any]:
    """Wrap a function: `act` is called before its call number `count` (1, 2, ...)."""
    calls = itertools.count(1)

    def wrapped(*arguments: Any, **named: Any) -> Any:
        if next(calls) == count:
            act()
        return function(*arguments, **named)

    return wrapped


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def die(*arguments: Any) -> None:
    raise KeyboardInterrupt


def spoil(epoch: int, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the loss of an epoch (1, 2, ...) NaN, the first `times` times that it is trained."""
    original = epoch_module.train_batch

    def batch(state: FoldState, *arguments: Any) -> torch.Tensor:
        loss = original(state, *arguments)
        if len(state.progress.history) == epoch - 1 and len(state.progress.rollbacks) < times:
            for weight in state.networks.network.parameters():
                weight.data.fill_(torch.nan)
            return torch.tensor(torch.nan)
        return loss

    monkeypatch.setattr(epoch_module, "train_batch", batch)


class SmallMemory:
    """Let the forward pass fail, as a GPU's does, for more than `most` windows."""

    def __init__(self, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        forward = cpu_training.CpuTrainingNetwork.__call__  # what computes the network on a CPU

        def limited(network: Any, signal: torch.Tensor, demographics: torch.Tensor) -> torch.Tensor:
            if len(signal) > most:
                raise torch.OutOfMemoryError("CUDA out of memory")
            self.sizes.append(len(signal))
            return forward(network, signal, demographics)

        monkeypatch.setattr(cpu_training.CpuTrainingNetwork, "__call__", limited)


class Clock:
    """A clock that only training batches advance."""

    def __init__(self, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.seconds = 0.0, seconds
        original = epoch_module.train_batch

        def batch(*arguments: Any) -> torch.Tensor:
            self.now += self.seconds
            return original(*arguments)

        monkeypatch.setattr(epoch_module, "train_batch", batch)

    def __call__(self) -> float:
        return self.now


def at_call(
    number: int, counter: Iterator[int], function: Callable[..., Any], act: Callable[[], None]
) -> Callable[..., Any]:
    """Wrap a function: `act` is called before the call that gets `number` from the counter, which others may share."""

    def wrapped(*arguments: Any, **named: Any) -> Any:
        if next(counter) == number:
            act()
        return function(*arguments, **named)

    return wrapped


def dead_after(number: int, counter: Iterator[int], function: Callable[..., Any], folder: Path) -> Callable[..., Any]:
    """Wrap a function: from its call number `number` for a file in the folder itself on, the process is dead."""

    def wrapped(path: Any, *arguments: Any, **named: Any) -> Any:
        if Path(path).parent == folder and next(counter) >= number:
            raise KeyboardInterrupt
        return function(path, *arguments, **named)

    return wrapped
