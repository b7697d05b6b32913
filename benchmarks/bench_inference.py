"""Scoring a recording of 10 s with five networks on the CPU, one at a time, against the published way.

Threads are PyTorch's own choice, one a core: OMP_NUM_THREADS=1 limits ours and the baseline's alike.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.baseline import WINDOW, score
from benchmarks.bench_reading import write_recording
from benchmarks.run import Row
from leadwise.decision import Answer
from leadwise.ensemble import Model, fold_file, load_model, save_facts, save_network
from leadwise.network import SEResNet
from leadwise.recipes import RECIPES
from leadwise.scoring import score_files
from leadwise.simulate import simulate

FOLDER = tempfile.TemporaryDirectory(prefix="bench_inference_")  # removed when the process ends
NETWORKS = 5


def write_model(folder: Path) -> Model:
    """Five networks of recipe `paper` that never learned, with statistics of simulated ECGs: speed asks for no more."""
    torch.manual_seed(0)
    recipe, folds = RECIPES["paper"], []
    signals = torch.zeros(4, 12, WINDOW)
    for seed, row in enumerate(signals):
        row[:, :2570] = 1000 * torch.from_numpy(simulate([], seed, 257, 10))
    for fold in range(NETWORKS):
        network = SEResNet(recipe.network).train()
        for norm in (module for module in network.modules() if isinstance(module, nn.BatchNorm1d)):
            norm.momentum = 1.0
        with torch.no_grad():
            network(signals, torch.rand(4, 5))
        checksum = save_network(folder, fold, network.state_dict())
        folds.append({"file": fold_file(fold), "sha256": checksum, "thresholds": [0.3] * 24})
    save_facts(folder, recipe, Answer(np.zeros((1, 24), np.bool_), np.zeros((1, 24))), folds, {})
    return load_model(folder)


def rows() -> list[Row]:
    """One recording from its file to its labels, and a batch of 32 as the driver has it."""
    folder = Path(FOLDER.name)
    model = write_model(folder)
    networks, thresholds = list(model.networks), model.thresholds
    paths = [write_recording(folder, f"A{number:04d}") for number in range(32)]
    labels, scores = score(networks, thresholds, paths[0])
    ours = next(iter(score_files(model, paths[:1])))
    if (ours.labels != labels).any() or np.abs(ours.scores - scores).max() > 1e-5:
        raise AssertionError("the fast way answers otherwise than the published one")
    return [
        Row(
            name="score one recording of 10 s, five networks, file to labels: published way",
            ours=lambda: list(score_files(model, paths[:1])),
            baseline=lambda: score(networks, thresholds, paths[0]),
            target=1.3,
            pairs=7,
        ),
        Row(
            name="score 32 recordings of 10 s, five networks, files to labels: published way",
            ours=lambda: list(score_files(model, paths, jobs=2)),
            baseline=lambda: [score(networks, thresholds, path) for path in paths],
            target=1.4,
            pairs=5,
        ),
    ]
