"""Validation: the test windows of each recording, and the mean over them."""

from __future__ import annotations

import numpy as np
import torch

from leadwise.ecg.preprocessing import window_starts
from leadwise.network.devices import CPU
from leadwise.training.fold import FoldResult
from leadwise.training.fold_state import FoldState
from tests.training.folds import DATASET, TINY, VALIDATION, plain_window


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
