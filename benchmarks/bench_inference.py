"""Measure scoring of recordings of 10 s with five networks of recipe `paper` on the CPU, against the published method,
and against ONNX Runtime on the same networks if it is installed (requirements-dev.txt).

The number of threads is PyTorch's default, one per core. OMP_NUM_THREADS=1 limits both sides and ONNX Runtime alike.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.baseline import WINDOW, read, score
from benchmarks.baseline import score_folder as score_plainly
from benchmarks.bench_training import processor
from benchmarks.material import write_recordings
from benchmarks.run import Row
from leadwise.decision.rules import Predictions
from leadwise.model.ensemble import Model, load_model
from leadwise.model.folder import ModelMetadata, fold_file, save_metadata, save_network
from leadwise.model.scoring import score_files, score_folder
from leadwise.network.se_resnet import SEResNet
from leadwise.options import DriverOptions
from leadwise.recipes import RECIPES
from leadwise.simulate import simulate

FOLDER = tempfile.TemporaryDirectory(prefix="bench_inference_")  # removed when the process ends
NETWORKS = 5
ERRORS = {"fp32": 1e-5, "bf16": 0.01}  # of a score, at most
DRIVER, PART = 200, 1 / 8  # recordings of the driver's row, and the share of them that the baseline scores


def write_model(folder: Path) -> None:
    """Write five untrained networks of recipe `paper`, with batch norm statistics of simulated ECGs."""
    torch.manual_seed(0)
    recipe, folds = RECIPES["paper"], []
    signals = torch.zeros(4, 12, WINDOW)
    for seed, row in enumerate(signals):
        row[:, :2570] = 1000 * torch.from_numpy(simulate([], seed, 257, 10))
    folder.mkdir(parents=True, exist_ok=True)
    for fold in range(NETWORKS):
        network = SEResNet(recipe.network).train()
        for norm in (module for module in network.modules() if isinstance(module, nn.BatchNorm1d)):
            norm.momentum = 1.0
        with torch.no_grad():
            network(signals, torch.rand(4, 5))
        checksum = save_network(folder, fold_file(fold), network.state_dict())
        folds.append({"file": fold_file(fold), "sha256": checksum, "thresholds": [0.3] * 24})
    save_metadata(folder, ModelMetadata(recipe, Predictions(np.zeros((1, 24), np.bool_), np.zeros((1, 24))), folds, {}))


@cache
def paths(count: int = 1) -> list[Path]:
    """Write `count` recordings; return their paths."""
    return write_recordings(Path(FOLDER.name, f"data{count}"), count)


@cache
def model() -> Model:
    """Load the five networks as a command does: in bf16 on a CPU that is faster in it.

    Raises AssertionError if the fast implementation gives other answers than the plain one.
    """
    write_model(Path(FOLDER.name, "model"))
    loaded = load_model(Path(FOLDER.name, "model"), processor())
    labels, scores = score(list(loaded.networks), loaded.thresholds, paths()[0])
    ours, error = next(iter(score_files(loaded, paths()))), ERRORS[processor().precision]
    doubtful = np.abs(scores - loaded.thresholds.mean(0)) < error
    if ((ours.labels != labels) & ~doubtful).any() or np.abs(ours.scores - scores).max() > error:
        raise AssertionError("the fast implementation gives other answers than the plain one")
    return loaded


def plainly(count: int) -> list[object]:
    """Score recordings by the published method, one after the other."""
    return [score(list(model().networks), model().thresholds, path) for path in paths(count)]


def drive_plainly() -> None:
    """Score a part of the folder by the published method, from files to CSVs."""
    output = Path(FOLDER.name, "plain")
    output.mkdir(exist_ok=True)
    score_plainly(list(model().networks), model().thresholds, paths(DRIVER)[: round(DRIVER * PART)], output)


@cache
def engines() -> list[Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float32]]]:
    """Return an ONNX Runtime for each network: signals (1, 12, WINDOW) and demographics (1, 5) to logits (1, 24)."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()
    sessions = []
    for fold, network in enumerate(model().networks):
        file = Path(FOLDER.name, f"network{fold}.onnx")
        example = (torch.zeros(1, 12, WINDOW), torch.zeros(1, 5))
        torch.onnx.export(network, example, file, input_names=["signal", "person"], dynamo=False)
        sessions.append(onnxruntime.InferenceSession(file, settings, providers=["CPUExecutionProvider"]))
    return [
        lambda signal, person, s=session: s.run(None, {"signal": signal, "person": person})[0] for session in sessions
    ]


def by_onnx_runtime() -> NDArray[np.float64]:
    """Return the mean probabilities (24,) of one recording, from its files."""
    signal, person, _ = read(paths()[0])
    padded = np.zeros((1, 12, WINDOW), np.float32)
    padded[0, :, : signal.shape[1]] = signal
    logits = np.stack([engine(padded, person[None])[0] for engine in engines()]).astype(np.float64)
    return (1 / (1 + np.exp(-logits))).mean(0)


def rows() -> list[Row]:
    """Return the rows of scoring: one recording, a batch of 32, the driver."""
    fast = processor().precision == "bf16"  # such a processor has a higher target
    found = [
        Row(
            name="score one recording of 10 s, five networks, file to labels: published method",
            ours=lambda: list(score_files(model(), paths())),
            baseline=lambda: plainly(1),
            target=2.2 if fast else 1.3,
            pairs=7,
        ),
        Row(
            name="score 32 recordings of 10 s, five networks, files to labels: published method",
            ours=lambda: list(score_files(model(), paths(32), jobs=2)),
            baseline=lambda: plainly(32),
            target=1.4,
            pairs=5,
        ),
        Row(
            name=f"driver, {DRIVER} recordings of 10 s, five networks, files to CSVs: published method (on {PART:.0%})",
            ours=lambda: score_folder(
                model(), paths(DRIVER)[0].parent, Path(FOLDER.name, "outputs"), DriverOptions(jobs=2)
            ),
            baseline=drive_plainly,
            target=2.8 if fast else 1.4,
            pairs=5,
            part=PART,
        ),
    ]
    missing = [name for name in ("onnx", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        print(f"no row of ONNX Runtime: {' and '.join(missing)} is not installed", file=sys.stderr)
        return found
    row = Row(
        name="score one recording of 10 s, five networks, file to labels: ONNX Runtime",
        ours=lambda: list(score_files(model(), paths())),
        baseline=by_onnx_runtime,
        target=1.0,
        pairs=7,
    )
    return [*found, row]
