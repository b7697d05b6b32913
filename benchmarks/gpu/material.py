"""Make the inputs of the checks: random data sets, networks with realistic running statistics, simulated folders."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.gpu.setting import Setting
from leadwise.data.dataset import Dataset
from leadwise.network.se_resnet import SEResNet
from leadwise.options import TrainingOptions
from leadwise.recipes import PAPER, QUICK, ROBUST, Recipe
from leadwise.simulate import write_folder

ROOT = Path(__file__).resolve().parents[2]
BLOCK = 1 << 18  # random rows; a longer array repeats them
SEED = 2020


def small(recipe: Recipe) -> Recipe:
    """Return a recipe with a tiny network and short windows, for rehearsals."""
    network = dataclasses.replace(recipe.network, stem_channels=8, block_channels=(8, 8, 16), reduction=4)
    signal = dataclasses.replace(recipe.signal, window=256, overlap=32)
    training = dataclasses.replace(recipe.training, batch_size=8)
    return dataclasses.replace(recipe, network=network, signal=signal, training=training)


def recipes(rehearse: bool) -> tuple[Recipe, Recipe]:
    """Return `paper` and `robust`, or small versions of both."""
    return (small(PAPER), small(ROBUST)) if rehearse else (PAPER, ROBUST)


def without_dropout(recipe: Recipe) -> Recipe:
    """Return the recipe without dropout, for which two devices draw different random numbers."""
    return dataclasses.replace(recipe, network=dataclasses.replace(recipe.network, dropout=0.0))


def spread_of(recipe: Recipe) -> float:
    """Return the standard deviation of a recipe's signals: that of ADC counts, or 1 if the recipe scales them."""
    return 300.0 if recipe.signal.scale == "none" else 1.0


def random_dataset(recipe: Recipe, recordings: int, seconds: float = 10.0) -> Dataset:
    """Return prepared recordings of random samples and equal length, with one to three labels each."""
    random, rows = np.random.default_rng(SEED), int(seconds * recipe.signal.sampling_frequency)
    block = spread_of(recipe) * random.standard_normal((min(BLOCK, recordings * rows), 12), np.float32)
    samples = np.empty((recordings * rows, 12), np.float32)
    for first in range(0, len(samples), len(block)):
        samples[first : first + len(block)] = block[: len(samples) - first]
    labels = np.zeros((recordings, 24), np.bool_)
    labels[np.arange(recordings)[:, None], random.integers(24, size=(recordings, 3))] = True
    names = tuple(f"A{index:06d}" for index in range(recordings))
    return Dataset(
        names, ("A",) * recordings, names, samples, np.arange(recordings) * rows, np.full(recordings, rows), labels,
        np.zeros_like(labels), random.random((recordings, recipe.network.demographics), np.float32),
        np.ones((recordings, 3), np.float32), {}, {}, "random",
    )  # fmt: skip


def random_windows(recipe: Recipe, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return windows (count, 12, window), the second half zero-padded, auxiliary features, and targets."""
    generator = torch.Generator().manual_seed(SEED)
    windows = spread_of(recipe) * torch.randn(count, 12, recipe.signal.window, generator=generator)
    windows[count // 2 :, :, recipe.signal.window * 2 // 3 :] = 0
    auxiliary = torch.rand(count, recipe.network.demographics, generator=generator)
    return windows, auxiliary, (torch.rand(count, recipe.network.classes, generator=generator) < 0.1).float()


def settled_network(recipe: Recipe, seed: int = SEED) -> SEResNet:
    """Return a network with random weights and the running statistics of one batch, in evaluation mode.

    Its activations have the magnitude of a trained network's.
    """
    torch.manual_seed(seed)
    network = SEResNet(recipe.network)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm1d)]
    for norm in norms:
        norm.momentum = 1.0  # the running statistics become those of the next batch
    with torch.no_grad():
        network(*random_windows(recipe, 4)[:2])
    for norm in norms:
        norm.momentum = 0.1
    return network.eval()


def simulated_folder(folder: Path, recordings: int) -> Path:
    """Return a folder of simulated recordings of two databases; an existing one is used again."""
    if not folder.exists():
        write_folder(folder, recordings, SEED, sources=("A", "E"), class_floor=0.02, longest=15.0)
    return folder


def trainable_folder(setting: Setting) -> Path:
    """Return the folder of recordings for the small trainings."""
    return simulated_folder(setting.folder / "trainable", setting.few(64, 16))


def quick_options(device: torch.device, epochs: int) -> TrainingOptions:
    """Return the options of a training that takes seconds: recipe `quick`, one network."""
    precision, threads = ("fp32", 1) if device.type == "cpu" else ("auto", 2)
    return TrainingOptions(
        recipe=QUICK.name, epochs=epochs, networks=1, simulated=0, device=device.type, precision=precision, jobs=1,
        threads=threads, pages=False,
    )  # fmt: skip
