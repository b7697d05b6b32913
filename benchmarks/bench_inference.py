"""Measure scoring of recordings of 10 s with five networks of recipe `paper` on the CPU, against the published method,
and against ONNX Runtime and OpenVINO on the same networks if they are installed (requirements-dev.txt).

The number of threads is PyTorch's default, one per core. OMP_NUM_THREADS=1 limits both sides and the engines alike.
The engines get their inputs from our own reading, so that their rows compare the computation of the networks.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.baseline import WINDOW, score
from benchmarks.baseline import score_folder as score_plainly
from benchmarks.bench_training import processor
from benchmarks.engines import BATCH, Engine, export, missing, onnx_runtime, openvino_engine, openvino_has_bf16
from benchmarks.material import write_recordings
from benchmarks.run import Row
from leadwise.decision.rules import Predictions
from leadwise.ecg.preprocessing import auxiliary_features, prepare
from leadwise.ecg.reading import read_ecg
from leadwise.model.ensemble import Model, load_model
from leadwise.model.folder import ModelMetadata, fold_file, save_metadata, save_network
from leadwise.model.scoring import score_files, score_folder
from leadwise.network.devices import choose_processor
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
def folder() -> Path:
    """Write the model; return its folder."""
    write_model(Path(FOLDER.name, "model"))
    return Path(FOLDER.name, "model")


def model() -> Model:
    """Return the five networks as a command loads them: in bf16 on a CPU that is faster in it."""
    return model_in(processor().precision)


@cache
def model_in(precision: str) -> Model:
    """Load the five networks in this precision.

    Raises AssertionError if the fast implementation gives other answers than the plain one.
    """
    loaded = load_model(folder(), choose_processor("cpu", precision))
    labels, scores = score(list(loaded.networks), loaded.thresholds, paths()[0])
    plain = Predictions(labels[None], scores[None])
    check(ours(loaded, 1), plain, loaded, precision, "the fast implementation")
    return loaded


def ours(model: Model, count: int) -> Predictions:
    """Score recordings as the library does."""
    found = list(score_files(model, paths(count), jobs=min(count, 2)))
    return Predictions(np.stack([each.labels for each in found]), np.stack([each.scores for each in found]))


def check(found: Predictions, expected: Predictions, model: Model, precision: str, what: str) -> None:
    """Raise AssertionError if scores differ, or labels where no network's probability is near its threshold."""
    error = ERRORS[precision]
    doubtful = np.abs(expected.scores - model.thresholds.mean(0)) < error
    if ((found.labels != expected.labels) & ~doubtful).any() or np.abs(found.scores - expected.scores).max() > error:
        raise AssertionError(f"{what} gives other answers")


def plainly(count: int) -> list[object]:
    """Score recordings by the published method, one after the other."""
    return [score(list(model().networks), model().thresholds, path) for path in paths(count)]


def drive_plainly() -> None:
    """Score a part of the folder by the published method, from files to CSVs."""
    output = Path(FOLDER.name, "plain")
    output.mkdir(exist_ok=True)
    score_plainly(list(model().networks), model().thresholds, paths(DRIVER)[: round(DRIVER * PART)], output)


@cache
def onnx_file() -> Path:
    """Write the five networks as one ONNX file."""
    return export(model().networks, Path(FOLDER.name, "networks.onnx"))


def by_engine(engine: Engine, count: int) -> Predictions:
    """Score recordings of 10 s with another engine, from files to labels."""
    windows, people = np.zeros((count, 12, WINDOW), np.float32), np.zeros((count, 5), np.float32)
    for window, person, path in zip(windows, people, paths(count), strict=True):
        recording = read_ecg(path)
        signal = prepare(recording, model().recipe.signal)
        window[:, : signal.values.shape[1]] = signal.values
        person[:] = auxiliary_features(recording.header, signal)
    logits = engine(windows, people).astype(np.float64)
    return model().rule.decide(1 / (1 + np.exp(-logits)))


@cache
def checked_engine(name: str, count: int) -> Engine:
    """Return an engine for so many recordings. Raises AssertionError if its answers are not ours in fp32."""
    precision = "bf16" if name.endswith("bf16") else "fp32"
    if name.startswith("OpenVINO"):
        engine = openvino_engine(onnx_file(), precision, 1 if count == 1 else BATCH)
    else:
        engine = onnx_runtime(onnx_file())
    check(by_engine(engine, count), ours(model_in("fp32"), count), model_in("fp32"), precision, name)
    return engine


def engine_rows(name: str, precision: str, counts: dict[int, int], target: float) -> Iterator[Row]:
    """Yield the rows of an engine, against ours in this precision; `counts` maps recordings to pairs."""
    for count, pairs in counts.items():
        recordings = "one recording of 10 s" if count == 1 else f"{count} recordings of 10 s"
        files = "file" if count == 1 else "files"
        yield Row(
            name=f"score {recordings}, five networks, {files} to labels: {name}",
            ours=lambda count=count: ours(model_in(precision), count),
            baseline=lambda count=count: by_engine(checked_engine(name, count), count),
            target=target,
            pairs=pairs,
        )


def rows_of_engines() -> Iterator[Row]:
    """Yield the rows of the engines that are installed; say which are not."""
    if reason := missing("onnx"):
        print(f"no rows of other engines: {reason}", file=sys.stderr)
        return
    if reason := missing("onnxruntime"):
        print(f"no row of ONNX Runtime: {reason}", file=sys.stderr)
    else:
        yield from engine_rows("ONNX Runtime", processor().precision, {1: 7}, 1.0)
    if reason := missing("openvino"):
        print(f"no rows of OpenVINO: {reason}", file=sys.stderr)
        return
    yield from engine_rows("OpenVINO fp32", "fp32", {1: 7, 32: 5}, 1.3)
    if openvino_has_bf16():
        yield from engine_rows("OpenVINO bf16", processor().precision, {1: 7, 32: 5}, 1.0)
    else:
        print("no rows of OpenVINO bf16: this CPU has no units for it", file=sys.stderr)


def rows() -> list[Row]:
    """Return the rows of scoring: one recording, a batch of 32, the driver."""
    fast = processor().precision == "bf16"  # such a processor has a higher target
    found = [
        Row(
            name="score one recording of 10 s, five networks, file to labels: published method",
            ours=lambda: ours(model(), 1),
            baseline=lambda: plainly(1),
            target=2.2 if fast else 1.3,
            pairs=7,
        ),
        Row(
            name="score 32 recordings of 10 s, five networks, files to labels: published method",
            ours=lambda: ours(model(), 32),
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
    return [*found, *rows_of_engines()]
