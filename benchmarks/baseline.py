"""The published way of scoring, written plainly, to measure against: files by SciPy, each lead interpolated, five eager
networks in fp32 one after the other, one recording at a time, padded to the window. Knows nothing of the fast way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.io
import torch
from numpy.typing import NDArray

from leadwise.network import SEResNet

WINDOW, SAMPLING_FREQUENCY = 4096, 257


def read(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Signal (12, samples) at 257 Hz and demographics (5,) of a recording, by loadmat and the header's lines."""
    counts = scipy.io.loadmat(path.with_suffix(".mat"))["val"]
    lines = path.with_suffix(".hea").read_text().splitlines()
    length = counts.shape[1]
    frequency = float(lines[0].split(" ")[2])
    target = int(length / frequency * SAMPLING_FREQUENCY)
    source_times = np.linspace(0, length, length) / frequency
    target_times = np.linspace(0, target, target) / SAMPLING_FREQUENCY
    signal = np.array([np.interp(target_times, source_times, lead) for lead in counts], np.float32)
    facts = dict(line[1:].split(": ", 1) for line in lines if line.startswith("#"))
    female, male = facts["Sex"] == "Female", facts["Sex"] == "Male"
    return signal, np.array([float(facts["Age"]) / 100, 0, female, male, female or male], np.float32)


@torch.inference_mode()
def score(
    networks: list[SEResNet], thresholds: NDArray[np.float64], path: Path
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Labels (24,) and mean probabilities (24,) of a recording that is not longer than the window."""
    signal, person = read(path)
    padded = np.zeros((1, 12, WINDOW), np.float32)
    padded[0, :, : signal.shape[1]] = signal
    probabilities, votes = np.zeros((len(networks), 24)), np.zeros(24, int)
    for row, network, cutoffs in zip(probabilities, networks, thresholds, strict=True):
        row[:] = torch.sigmoid(network(torch.from_numpy(padded), torch.from_numpy(person[None])))[0].numpy()
        answer = row >= cutoffs
        answer[row.argmax()] = True
        votes += answer
    labels = 2 * votes >= len(networks)
    labels[votes.argmax()] = True
    return labels, probabilities.mean(0)
