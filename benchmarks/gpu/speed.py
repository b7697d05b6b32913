"""Measure speed: seconds of a call, the rate of matrix products, recordings per second and memory of training."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch

from benchmarks.gpu.setting import Setting
from leadwise.network.devices import PRECISIONS
from leadwise.network.se_resnet import forward_operations
from leadwise.training.epoch import train_epoch
from leadwise.training.examples import Examples
from leadwise.training.fold_state import FoldState

PRODUCTS = 20  # matrix products per timing


def seconds(setting: Setting, call: Callable[[], object]) -> float:
    """Return how long a call takes on the device, by its own clock (CUDA events)."""
    if setting.device.type != "cuda":
        start = time.perf_counter()
        call()
        return time.perf_counter() - start
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    setting.wait()
    begin.record()
    call()
    end.record()
    setting.wait()
    return float(begin.elapsed_time(end)) / 1000


@cache
def peak_matrix_rate(setting: Setting, precision: str) -> float:
    """Return the operations per second of large matrix products, the best of five timings.

    The values are random, since a GPU that multiplies constants draws less power and runs at a higher clock.
    """
    size = setting.few(8192, 64)
    matrix = torch.randn(size, size, device=setting.device).to(PRECISIONS[precision])
    product = torch.empty_like(matrix)

    def multiply() -> None:
        for _ in range(PRODUCTS):
            torch.mm(matrix, matrix, out=product)

    multiply()
    return 2 * PRODUCTS * size**3 / min(seconds(setting, multiply) for _ in range(5))


@dataclass(frozen=True)
class Speed:
    """The measured speed of a training."""

    recordings: int
    seconds: float
    mfu: float  # model FLOP utilisation: share of the device's rate of bf16 matrix products
    memory: int  # bytes, the peak

    @property
    def rate(self) -> float:
        """Return recordings per second."""
        return self.recordings / self.seconds

    def numbers(self) -> dict[str, Any]:
        """Return the figures for the JSON file."""
        return {
            "recordings_per_second": self.rate,
            "mfu": self.mfu,
            "gib": self.memory / 2**30,
            "seconds": self.seconds,
        }

    def __str__(self) -> str:
        return f"{self.rate:,.0f} recordings/s, mfu {self.mfu:.2f}, {self.memory / 2**30:.1f} GiB"


def train(setting: Setting, state: FoldState, examples: Examples, recordings: int) -> Speed:
    """Measure one pass of training over so many recordings, after three warm-up batches."""
    recipe = state.recipe
    size = recipe.training.batch_size
    step(state, examples, 3 * size)
    if setting.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    recordings = max(recordings // size, 1) * size
    taken = seconds(setting, lambda: step(state, examples, recordings))
    work = 3 * forward_operations(recipe.network, recipe.signal.window) * recordings
    memory = torch.cuda.max_memory_allocated() if setting.device.type == "cuda" else 0
    return Speed(recordings, taken, work / taken / peak_matrix_rate(setting, "bf16"), memory)


def step(state: FoldState, examples: Examples, recordings: int) -> float:
    """Train on so many recordings, repeating the data if it has fewer; return the mean loss."""
    members = torch.from_numpy(np.arange(recordings) % len(examples.host_lengths))
    return train_epoch(state, examples, members, lambda share: 1e-4)[0]
