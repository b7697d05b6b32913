"""Write small untrained models for tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from leadwise.decision.rules import Predictions
from leadwise.model.folder import SIMULATION_NETWORK, ModelMetadata, fold_file, save_metadata, save_network
from leadwise.network.se_resnet import SEResNet
from leadwise.recipes import DecisionRecipe, NetworkRecipe, Recipe, SignalRecipe

TINY = Recipe(
    "tiny",
    signal=SignalRecipe(window=256, overlap=32),
    network=NetworkRecipe(stem_channels=4, block_channels=(4, 8), reduction=2),
)


PRIOR = Predictions(np.arange(24)[None] == 5, np.full((1, 24), 0.25))


def write_model(folder: Path, networks: int = 3) -> list[SEResNet]:
    """Write an untrained model folder; return its networks."""
    folder.mkdir(exist_ok=True)
    torch.manual_seed(4)
    saved, folds = [], []
    for fold in range(networks):
        network = SEResNet(TINY.network).eval()
        thresholds = np.random.default_rng(fold).uniform(0.3, 0.7, 24).round(2)
        checksum = save_network(folder, fold_file(fold), network.state_dict())
        folds.append({"file": fold_file(fold), "sha256": checksum, "thresholds": thresholds.tolist()})
        saved.append(network)
    save_metadata(folder, ModelMetadata(TINY, PRIOR, folds, {"recordings": 0}))
    return saved


def examples(lengths: list[int]) -> tuple[list[NDArray[np.float32]], NDArray[np.float32]]:
    random = np.random.default_rng(1)
    signals = [random.normal(0, 1, (12, length)).astype(np.float32) for length in lengths]
    return signals, random.random((len(lengths), 5)).astype(np.float32)


def edit(change: Callable[[dict], object]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        metadata = json.loads((folder / "model.json").read_text())
        change(metadata)
        (folder / "model.json").write_text(json.dumps(metadata))

    return spoil


SIMULATION = replace(
    TINY, name="simulation", decision=DecisionRecipe(method="reward", prevalence_shift=1.0, simulation_network=True)
)


def write_model_with_simulation_network(folder: Path) -> list[SEResNet]:
    """Write an untrained model of one network and a simulation-only network; return the two."""
    folder.mkdir(exist_ok=True)
    torch.manual_seed(5)
    networks = [SEResNet(TINY.network).eval() for _ in range(2)]
    names = (fold_file(0), SIMULATION_NETWORK)
    one, simulation_network = (
        {"file": name, "sha256": save_network(folder, name, network.state_dict())}
        for name, network in zip(names, networks, strict=True)
    )
    calibration = {"temperature": 1.0, "shared_offset": 0.0, "offsets": [0.0] * 24}
    one |= {"calibration": calibration, "target_prevalence": [0.1] * 24, "label_prevalence": [0.1] * 24}
    simulation_network |= {"target_prevalence": [0.2] * 24, "weight": 0.5}
    save_metadata(folder, ModelMetadata(SIMULATION, PRIOR, [one], {"recordings": 0}, (), simulation_network))
    return networks
