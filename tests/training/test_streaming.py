"""Signals that stay on the host: the same windows, prefetched or not, and the same training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from leadwise.network.devices import CPU
from leadwise.training import epoch, fold_state
from leadwise.training import examples as examples_module
from leadwise.training.examples import Examples
from leadwise.training.fold import train_fold
from leadwise.training.streaming import HostSamples
from tests.training.folds import TINY, make_dataset, task

DATASET = make_dataset([300, 40, 256, 600] * 5)
RESIDENT = Examples.of(DATASET, CPU.device)
STREAMED = Examples.of(DATASET, CPU.device, stream=True)
batches = st.lists(st.tuples(st.integers(0, 19), st.integers(-300, 600)), min_size=1, max_size=6)


@given(st.lists(st.tuples(batches, st.booleans(), st.booleans()), max_size=5), st.integers(1, 300))
def test_streamed_windows_are_the_resident_ones(
    requests: list[tuple[list[tuple[int, int]], bool, bool]], window: int
) -> None:
    """Some batches are prefetched, and some of those are never taken, as in an interrupted epoch."""
    calls = [(torch.tensor(batch).unbind(1), prefetched, taken) for batch, prefetched, taken in requests]
    for (indices, offsets), prefetched, _ in calls:
        if prefetched:
            STREAMED.prefetch(indices, offsets, window)
    for (indices, offsets), _, taken in calls:
        if taken:
            found = STREAMED.windows(indices, offsets, window)
            assert torch.equal(found, RESIDENT.windows(indices, offsets, window))


@pytest.mark.parametrize("micro_batches", [2, 4])
def test_micro_batches_are_fetched_ahead_as_they_are_taken(micro_batches: int, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[int] = []
    original = HostSamples._fetch

    def fetch(self: HostSamples, rows: torch.Tensor) -> object:
        fetched.append(len(rows))
        return original(self, rows)

    monkeypatch.setattr(HostSamples, "_fetch", fetch)
    state = fold_state.FoldState.begin(TINY, 7, CPU)
    state.progress.micro_batches = micro_batches
    epoch.train_epoch(state, Examples.of(DATASET, CPU.device, stream=True), torch.arange(16), lambda share: 0.0)
    assert fetched == [4 // micro_batches] * (4 * micro_batches)  # each once


def test_a_streamed_fold_is_the_resident_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    validation = np.arange(len(DATASET)) % 4 == 0
    resident = train_fold(task(DATASET, validation, TINY, tmp_path / "resident"))
    monkeypatch.setattr(examples_module, "fits", lambda size, device: False)
    streamed = train_fold(task(DATASET, validation, TINY, tmp_path / "streamed"))
    assert resident is not None and streamed is not None
    np.testing.assert_array_equal(streamed.probabilities, resident.probabilities)
