"""Validation: the test windows of each recording, and the mean over them."""

from __future__ import annotations

import numpy as np
import torch

from leadwise.ecg.preprocessing import window_starts
from leadwise.network.devices import CPU
from leadwise.recipes import SignalRecipe
from leadwise.training.fold import FoldResult
from leadwise.training.fold_state import FoldState
from leadwise.training.validation import validation_windows
from tests.training.folds import DATASET, TINY, VALIDATION, plain_window


def test_validation_windows_are_the_test_windows_of_each() -> None:
    table = validation_windows(np.array([100, 256, 700]), SignalRecipe(window=256, overlap=32))
    assert table[:, 0].tolist() == [0, 1, 2, 2, 2]
    assert table[:, 1].tolist() == [0, 0, *window_starts(700, 256, 32)]
    assert table[-1, 1] + 256 == 700
    assert (table[:, 2] == 1).all()
    fixed = validation_windows(np.array([100, 256, 700]), SignalRecipe(window=256, overlap=32, windows="fixed"))
    assert fixed[:, 1:].tolist() == [[0, 256], [0, 256], [0, 256], [224, 224], [444, 220]]


def test_probabilities_are_the_saved_network_s_over_all_windows(uninterrupted: FoldResult) -> None:
    network = FoldState.begin(TINY, 1, CPU).networks.network
    network.load_state_dict(uninterrupted.weights)
    network.eval()
    for row, index in enumerate(np.flatnonzero(VALIDATION)):
        start, length = DATASET.starts[index], int(DATASET.lengths[index])
        signal = DATASET.samples[start : start + length]
        windows = [plain_window(signal, int(first), 256) for first in window_starts(length, 256, 32)]
        person = torch.from_numpy(DATASET.auxiliary_features[index]).expand(len(windows), -1)
        with torch.inference_mode():
            expected = torch.sigmoid(network(torch.from_numpy(np.stack(windows)), person)).mean(0)
        np.testing.assert_allclose(uninterrupted.probabilities[row], expected, atol=1e-6)
