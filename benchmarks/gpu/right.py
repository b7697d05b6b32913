"""Part right: compare what the GPU computes with what the CPU computes."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.gpu.material import (
    ROOT,
    quick_options,
    random_dataset,
    random_windows,
    recipes,
    settled_network,
    simulated_folder,
    trainable_folder,
    without_dropout,
)
from benchmarks.gpu.setting import Check, Finding, Setting
from leadwise.challenge.outputs import read_output
from leadwise.decision.expected_reward import expected_reward
from leadwise.ecg.discovery import find_recordings
from leadwise.model.ensemble import load_model
from leadwise.model.scoring import score_folder
from leadwise.network.devices import CPU, choose_processor
from leadwise.network.se_resnet import SEResNet
from leadwise.recipes import Recipe
from leadwise.training.epoch import loss_of, train_batch
from leadwise.training.examples import Examples
from leadwise.training.fold_state import FoldState
from leadwise.training.run import train

# Largest differences allowed. Logits and probabilities absolute; gradients and weights by the norm of the difference.
# In fp32 they are below the error of rounding to TF32, which is about that of fp16.
LOGITS = {"fp32": 2e-5, "bf16": 0.03, "fp16": 0.005}
PROBABILITIES = {"fp32": 5e-6, "bf16": 0.008, "fp16": 0.0015}
GRADIENTS = {"fp32": 0.005, "bf16": 0.4, "fp16": 0.12}
# Three steps in fp32: relative error of the losses, and of the change of the weights. Adam's first steps have the size
# of the learning rate whatever the gradient is, so that a gradient near 0 moves its weight by chance; wrong gradients
# give more than 1.
LOSSES, MOVES = 2e-3, 0.5
SCORES = {"fp32": 1e-3, "auto": 0.05}  # of `pretrained`
REWARD = 0.02  # labels may differ if their expected rewards differ by no more
ON_CPU = 0.01  # probabilities of a model trained on the GPU, computed on both


def outputs(setting: Setting) -> Iterator[Finding]:
    """Compare logits and probabilities in each precision with fp64 on the CPU."""
    for recipe in recipes(setting.rehearse):
        network, (windows, auxiliary, _) = settled_network(recipe), random_windows(recipe, setting.few(8, 2))
        with torch.inference_mode():
            truth = deepcopy(network).double()(windows.double(), auxiliary.double())
            for precision in LOGITS:
                logits = _logits(setting, recipe, network, precision, (windows, auxiliary))
                difference = float((logits - truth).abs().max())
                probability = float((logits.sigmoid() - truth.sigmoid()).abs().max())
                ok = difference <= LOGITS[precision] and probability <= PROBABILITIES[precision]
                text = f"logits differ by {difference:.2g} (at most {LOGITS[precision]:g}), "
                text += f"probabilities by {probability:.2g} (at most {PROBABILITIES[precision]:g})"
                numbers = {"logits": difference, "probabilities": probability}
                yield Finding(f"outputs of {recipe.name} in {precision}", ok, text, numbers)


def _logits(
    setting: Setting, recipe: Recipe, network: SEResNet, precision: str, inputs: tuple[Tensor, Tensor]
) -> Tensor:
    """Return the device's logits, in fp64 on the host."""
    processor = setting.processor(precision)
    moved = deepcopy(network).to(processor.device)
    forward = setting.forward(moved, processor, recipe)
    with processor.autocast():
        return forward(*(each.to(processor.device) for each in inputs)).double().cpu()


def gradients(setting: Setting) -> Iterator[Finding]:
    """Compare the gradients of one training step in each precision with fp64 on the CPU."""
    for recipe in map(without_dropout, recipes(setting.rehearse)):
        network, data = settled_network(recipe).train(), random_windows(recipe, setting.few(8, 4))
        double = deepcopy(network).double()
        windows, auxiliary, targets = (each.double() for each in data)
        loss_of(double(windows, auxiliary), targets).backward()  # type: ignore[no-untyped-call]
        truth = _flat_gradient(double)
        for precision, bound in GRADIENTS.items():
            processor = setting.processor(precision)
            moved = deepcopy(network).to(processor.device)
            windows, auxiliary, targets = (each.to(processor.device) for each in data)
            scale = 1024.0 if precision == "fp16" else 1.0  # as the training scales them
            with processor.autocast():
                logits = setting.forward(moved, processor, recipe)(windows, auxiliary)
            (scale * loss_of(logits.float(), targets)).backward()  # type: ignore[no-untyped-call]
            error = float((_flat_gradient(moved) / scale - truth).norm() / truth.norm())
            text = f"relative error of the gradient {error:.2g} (at most {bound:g})"
            yield Finding(f"gradients of {recipe.name} in {precision}", error <= bound, text, {"error": error})


def _flat_gradient(network: SEResNet) -> Tensor:
    return torch.cat([each.grad.flatten().double().cpu() for each in network.parameters() if each.grad is not None])


def three_steps(setting: Setting) -> Iterator[Finding]:
    """Compare three training steps in fp32 from the same weights and windows."""
    recipe = without_dropout(recipes(setting.rehearse)[0])
    dataset = random_dataset(recipe, 24)
    losses, moves = zip(*(_steps(setting, recipe, dataset, device) for device in ("cpu", "tested")), strict=True)
    of_losses = float(((losses[1] - losses[0]) / losses[0]).abs().max())
    of_moves = float((moves[1] - moves[0]).norm() / moves[0].norm())
    text = f"losses differ by {of_losses:.2g} (at most {LOSSES:g}), "
    text += f"the changes of the weights by {of_moves:.2g} of their norm (at most {MOVES:g})"
    numbers = {"losses": of_losses, "moves": of_moves}
    yield Finding("three training steps in fp32", of_losses <= LOSSES and of_moves <= MOVES, text, numbers)


def _steps(setting: Setting, recipe: Recipe, dataset: object, device: str) -> tuple[Tensor, Tensor]:
    """Return the losses of three steps and the change of all weights."""
    processor = CPU if device == "cpu" else setting.processor("fp32")
    state = FoldState.begin(recipe, 1, processor)
    network = state.networks.network
    if device != "cpu":
        state.networks.forward = setting.forward(network, processor, recipe)
    examples = Examples.of(dataset, processor.device)  # type: ignore[arg-type]
    before = torch.cat([each.detach().flatten().cpu().clone() for each in network.parameters()])
    network.train()
    losses = []
    for step in range(3):
        batch = torch.arange(8) + 8 * step
        losses.append(train_batch(state, examples, batch, 30 * torch.arange(8) - 100))
    after = torch.cat([each.detach().flatten().cpu() for each in network.parameters()])
    return torch.stack(losses).cpu(), after - before


def pretrained(setting: Setting) -> Iterator[Finding]:
    """Compare the outputs of the included model on simulated recordings, from file to CSV."""
    count = setting.few(200, 12)
    data = simulated_folder(setting.folder / f"simulated{count}", count)
    score_folder(load_model(ROOT / "pretrained", CPU), data, setting.folder / "cpu")
    expected = _outputs(data, setting.folder / "cpu")
    usual = "fp32" if setting.rehearse else choose_processor("cuda").precision
    for name, bound in SCORES.items():
        processor = setting.processor("fp32" if name == "fp32" else usual)
        model = load_model(ROOT / "pretrained", processor)
        score_folder(model, data, setting.folder / name)
        labels, scores = _outputs(data, setting.folder / name)
        yield _compared(f"pretrained, {processor.precision}", expected, (labels, scores), bound)


Outputs = tuple[NDArray[np.bool_], NDArray[np.float64]]


def _outputs(data: Path, output: Path) -> Outputs:
    """Return labels and scores (recordings, 24) of a folder of outputs."""
    files = [output / f"{header.stem}.csv" for header in find_recordings(data)]
    labels, scores = zip(*(read_output(file).by_class() for file in files), strict=True)
    return np.array(labels), np.array(scores)


def _compared(name: str, expected: Outputs, found: Outputs, bound: float) -> Finding:
    """Compare two sets of outputs; labels may differ if their expected rewards are nearly the same."""
    difference = float(np.abs(found[1] - expected[1]).max())
    others = (found[0] != expected[0]).any(1)
    loss = expected_reward(expected[1], expected[0]) - expected_reward(expected[1], found[0])
    distance = float(loss[others].max(initial=0.0))
    text = f"scores differ by {difference:.2g} (at most {bound:g}); {others.sum()} of {len(others)} recordings have "
    text += f"other labels, with an expected reward lower by {distance:.2g} at most ({REWARD:g} is allowed)"
    numbers = {"scores": difference, "recordings": len(others), "other_labels": int(others.sum()), "reward": distance}
    return Finding(name, difference <= bound and distance <= REWARD, text, numbers)


def trained_there(setting: Setting) -> Iterator[Finding]:
    """Train a model on the GPU; load and score it on the CPU."""
    data, model = trainable_folder(setting), setting.folder / "trained"
    train(str(data), str(model), quick_options(setting.device, epochs=2))
    recipe = load_model(model, CPU).recipe
    signals = [*random_windows(recipe, 8)[0].numpy()]
    auxiliary = random_windows(recipe, 8)[1].numpy()
    probabilities = [
        load_model(model, each).probabilities(signals, auxiliary) for each in (CPU, setting.processor("fp32"))
    ]
    difference = float(np.abs(probabilities[1] - probabilities[0]).max())
    text = f"probabilities on the device and on the CPU differ by {difference:.2g} (at most {ON_CPU:g})"
    ok = bool(np.isfinite(probabilities[0]).all()) and difference <= ON_CPU
    yield Finding("a model trained on the device, on the CPU", ok, text, {"probabilities": difference})


CHECKS: tuple[Check, ...] = (outputs, gradients, three_steps, pretrained, trained_there)
