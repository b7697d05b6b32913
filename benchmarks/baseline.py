"""Implement the published method plainly, as the baseline of the measurements.

Files are read by SciPy, each lead is interpolated. Scoring: five eager networks in fp32 one after the other, one
recording at a time, padded to the window. Training: one item per recording, read again in each epoch, an eager network
in fp32 with PyTorch's own dropout and Adam. What a user would write today differs in three options: recordings are read
once (`in_memory`), the forward pass runs under autocast, the network is compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import scipy.io
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from leadwise.challenge.classes import CODES
from leadwise.network.se_resnet import ResidualBlock, SEResNet
from leadwise.recipes import PAPER

WINDOW, SAMPLING_FREQUENCY = 4096, 257

Recording = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]  # signal, demographics, labels


def read_files(path: Path) -> tuple[NDArray[np.int16], list[str]]:
    """Return ADC counts (12, samples) and header lines."""
    counts = scipy.io.loadmat(path.with_suffix(".mat"))["val"]
    with path.with_suffix(".hea").open() as header:
        return counts, header.readlines()


def resample(counts: NDArray[np.int16], lines: Sequence[str]) -> NDArray[np.float32]:
    """Return the signal (12, samples) at 257 Hz, resampled lead by lead."""
    length = counts.shape[1]
    frequency = float(lines[0].split(" ")[2])
    target = int(length / frequency * SAMPLING_FREQUENCY)
    source_times = np.linspace(0, length, length) / frequency
    target_times = np.linspace(0, target, target) / SAMPLING_FREQUENCY
    return np.array([np.interp(target_times, source_times, lead) for lead in counts], np.float32)


def read(path: Path) -> Recording:
    """Return the signal (12, samples) at 257 Hz, demographics (5,) and labels (24,) of a recording."""
    counts, lines = read_files(path)
    metadata = dict(line[1:].strip().split(": ", 1) for line in lines if line.startswith("#"))
    female, male = metadata["Sex"] == "Female", metadata["Sex"] == "Male"
    person = np.array([float(metadata["Age"]) / 100, 0, female, male, female or male], np.float32)
    labels = np.array([code in metadata["Dx"].split(",") for code in CODES], np.float32)
    return resample(counts, lines), person, labels


@torch.inference_mode()
def score(
    networks: list[SEResNet], thresholds: NDArray[np.float64], path: Path
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return labels (24,) and mean probabilities (24,) of a recording that is not longer than the window."""
    signal, person, _ = read(path)
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


def score_folder(networks: list[SEResNet], thresholds: NDArray[np.float64], paths: list[Path], output: Path) -> None:
    """Write an output of four lines for each recording."""
    for path in paths:
        labels, scores = score(networks, thresholds, path)
        rows = (CODES, labels.astype(int).tolist(), scores.tolist())
        lines = [f"#{path.name}", *(",".join(map(str, row)) for row in rows)]
        (output / f"{path.name}.csv").write_text("\n".join(lines) + "\n")


class Windows(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Windows, five demographics and 24 labels of recordings, read from the files in each epoch or once before."""

    def __init__(self, paths: Sequence[Path], in_memory: bool = False) -> None:
        self.paths = paths
        self.recordings = [read(path) for path in paths] if in_memory else None

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return one recording, cut or padded at a random place."""
        signal, person, labels = self.recordings[index] if self.recordings else read(self.paths[index])
        window, excess = np.zeros((12, WINDOW), np.float32), signal.shape[1] - WINDOW
        place = int(torch.randint(abs(excess) + 1, ()))
        if excess > 0:
            window[:] = signal[:, place : place + WINDOW]
        else:
            window[:, place : place + signal.shape[1]] = signal
        return torch.from_numpy(window), torch.from_numpy(person), torch.from_numpy(labels)


class Trainer:
    """The network of recipe `paper`, built from PyTorch's own modules, and its optimiser."""

    def __init__(self, dtype: torch.dtype = torch.float32, compiled: bool = False) -> None:
        self.network, training, self.dtype = SEResNet(PAPER.network).train(), PAPER.training, dtype
        for block in self.network.blocks:
            assert isinstance(block, ResidualBlock)
            block.dropout = nn.Dropout(PAPER.network.dropout)  # type: ignore[assignment]
        self.optimiser = torch.optim.Adam(
            self.network.parameters(), training.learning_rate, training.betas, weight_decay=training.weight_decay
        )
        self.forward: Callable[[Tensor, Tensor], Tensor] = torch.compile(self.network) if compiled else self.network

    def epoch(self, recordings: Windows) -> float:
        """Train on the recordings once, in batches of 64; return the mean loss."""
        loader = DataLoader(recordings, PAPER.training.batch_size, shuffle=True, drop_last=True)
        losses = []
        for windows, people, labels in loader:
            self.optimiser.zero_grad()
            with torch.autocast("cpu", self.dtype, enabled=self.dtype != torch.float32):
                logits = self.forward(windows, people)
            loss = nn.functional.binary_cross_entropy_with_logits(logits.float(), labels)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()
            losses.append(loss.item())
        return float(np.mean(losses))
