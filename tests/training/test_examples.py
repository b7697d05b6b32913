"""Training windows against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from leadwise.training.examples import Examples, random_offsets
from tests.training.folds import make_dataset, plain_window


@given(st.lists(st.tuples(st.integers(1, 90), st.integers(-70, 70)), min_size=1, max_size=5), st.integers(1, 64))
def test_windows_equal_a_plain_loop(recordings: list[tuple[int, int]], window: int) -> None:
    dataset = make_dataset([length for length, _ in recordings])
    examples = Examples.of(dataset, torch.device("cpu"))
    offsets = torch.tensor([offset for _, offset in recordings])
    windows = examples.windows(torch.arange(len(recordings)), offsets, window)
    for index, (length, offset) in enumerate(recordings):
        start = int(dataset.starts[index])
        expected = plain_window(dataset.samples[start : start + length], offset, window)
        np.testing.assert_array_equal(windows[index].numpy(), expected)


def test_random_offsets_are_uniform() -> None:
    generator = torch.Generator().manual_seed(1)
    longer = random_offsets(torch.full((30_000,), 12), 10, generator)
    shorter = random_offsets(torch.full((30_000,), 7), 10, generator)
    exact = random_offsets(torch.full((5,), 10), 10, generator)
    for offsets, places in ((longer, [0, 1, 2]), (shorter, [-3, -2, -1, 0])):
        values, counts = offsets.unique(return_counts=True)
        assert values.tolist() == places
        assert (counts / len(offsets)).numpy() == pytest.approx(1 / len(places), abs=0.02)
    assert (exact == 0).all()
