"""Part 1: the GPU computes what the CPU computes."""

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
from leadwise.options import NetworkOptions
from leadwise.recipes import Recipe
from leadwise.training.epoch import loss_of, train_batch
from leadwise.training.examples import Examples
from leadwise.training.fold_state import FoldState

# Largest differences allowed. Logits and probabilities absolute; gradients and weights by the norm of the difference.
# In fp32 they are below what rounding to TF32 would make: about as much as fp16 does.
LOGITS = {"fp32": 2e-5, "bf16": 0.03, "fp16": 0.005}
PROBABILITIES = {"fp32": 5e-6, "bf16": 0.008, "fp16": 0.0015}
GRADIENTS = {"fp32": 0.005, "bf16": 0.4, "fp16": 0.12}
# Three steps in fp32: relative error of the losses, and of how far the weights moved. Adam's first steps have the size
# of the rate whatever the gradient is, so that one near 0 moves its weight by chance; wrong gradients give more than 1.
LOSSES, MOVES = 2e-3, 0.5
SCORES = {"fp32": 1e-3, "auto": 0.05}  # of `pretrained`'s answers
REWARD = 0.02  # labels may differ where the expected rewards of the two answers differ by no more
ON_CPU = 0.01  # probabilities of a model that was trained on the GPU, there and on the CPU


def outputs(setting: Setting) -> Iterator[Finding]:
    """Compare logits and probabilities in each precision with fp64 on the CPU."""
    for recipe in recipes(setting.rehearse):
        network, (windows, people, _) = settled_network(recipe), random_windows(recipe, setting.few(8, 2))
        with torch.inference_mode():
            truth = deepcopy(network).double()(windows.double(), people.double())
            for precision in LOGITS:
                logits = _logits(setting, recipe, network, precision, (windows, people))
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
    there = deepcopy(network).to(processor.device)
    forward = setting.forward(there, processor, recipe)
    with processor.autocast():
        return forward(*(each.to(processor.device) for each in inputs)).double().cpu()


def gradients(setting: Setting) -> Iterator[Finding]:
    """Compare the gradients of one training step in each precision with fp64 on the CPU."""
    for recipe in map(without_dropout, recipes(setting.rehearse)):
        network, data = settled_network(recipe).train(), random_windows(recipe, setting.few(8, 4))
        double = deepcopy(network).double()
        windows, people, targets = (each.double() for each in data)
        loss_of(double(windows, people), targets).backward()  # type: ignore[no-untyped-call]
        truth = _flat_gradient(double)
        for precision, bound in GRADIENTS.items():
            processor = setting.processor(precision)
            there = deepcopy(network).to(processor.device)
            windows, people, targets = (each.to(processor.device) for each in data)
            scale = 1024.0 if precision == "fp16" else 1.0  # as the training scales them
            with processor.autocast():
                logits = setting.forward(there, processor, recipe)(windows, people)
            (scale * loss_of(logits.float(), targets)).backward()  # type: ignore[no-untyped-call]
            error = float((_flat_gradient(there) / scale - truth).norm() / truth.norm())
            text = f"the gradient is off by {error:.2g} of its length (at most {bound:g})"
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
    text += f"the weights' moves by {of_moves:.2g} of their length (at most {MOVES:g})"
    numbers = {"losses": of_losses, "moves": of_moves}
    yield Finding("three training steps in fp32", of_losses <= LOSSES and of_moves <= MOVES, text, numbers)


def _steps(setting: Setting, recipe: Recipe, dataset: object, device: str) -> tuple[Tensor, Tensor]:
    """Return the losses of three steps and how far all weights moved."""
    processor = CPU if device == "cpu" else setting.processor("fp32")
    run = FoldState.begin(recipe, 1, processor)
    if device != "cpu":
        run.forward = setting.forward(run.network, processor, recipe)
    examples = Examples.of(dataset, processor.device)  # type: ignore[arg-type]
    before = torch.cat([each.detach().flatten().cpu().clone() for each in run.network.parameters()])
    run.network.train()
    losses = []
    for step in range(3):
        batch = torch.arange(8) + 8 * step
        losses.append(train_batch(run, examples, batch, 30 * torch.arange(8) - 100, recipe))
    after = torch.cat([each.detach().flatten().cpu() for each in run.network.parameters()])
    return torch.stack(losses).cpu(), after - before


def pretrained(setting: Setting) -> Iterator[Finding]:
    """Compare the answers of the included model on simulated recordings, from file to CSV."""
    count = setting.few(200, 12)
    data = simulated_folder(setting.folder / f"simulated{count}", count)
    score_folder(load_model(ROOT / "pretrained", CPU), data, setting.folder / "cpu")
    expected = _answers(data, setting.folder / "cpu")
    usual = "fp32" if setting.rehearse else choose_processor(NetworkOptions(device="cuda")).precision
    for name, bound in SCORES.items():
        processor = setting.processor("fp32" if name == "fp32" else usual)
        model = load_model(ROOT / "pretrained", processor)
        score_folder(model, data, setting.folder / name)
        labels, scores = _answers(data, setting.folder / name)
        yield _compared(f"pretrained, {processor.precision}", expected, (labels, scores), bound)


Answers = tuple[NDArray[np.bool_], NDArray[np.float64]]


def _answers(data: Path, output: Path) -> Answers:
    """Return labels and scores (recordings, 24) of a folder of outputs."""
    files = [output / f"{header.stem}.csv" for header in find_recordings(data)]
    labels, scores = zip(*(read_output(file).by_class() for file in files), strict=True)
    return np.array(labels), np.array(scores)


def _compared(name: str, expected: Answers, found: Answers, bound: float) -> Finding:
    """Compare two sets of answers; labels may differ where both sets of them are worth nearly the same."""
    difference = float(np.abs(found[1] - expected[1]).max())
    others = (found[0] != expected[0]).any(1)
    worth = expected_reward(expected[1], expected[0]) - expected_reward(expected[1], found[0])
    distance = float(worth[others].max(initial=0.0))
    text = f"scores differ by {difference:.2g} (at most {bound:g}); {others.sum()} of {len(others)} recordings have "
    text += f"other labels, worth {distance:.2g} less at most ({REWARD:g} is allowed)"
    numbers = {"scores": difference, "recordings": len(others), "other_labels": int(others.sum()), "worth": distance}
    return Finding(name, difference <= bound and distance <= REWARD, text, numbers)


def trained_there(setting: Setting) -> Iterator[Finding]:
    """Train a model on the GPU; load and score it on the CPU."""
    from team_code import training_code

    data, model = trainable_folder(setting), setting.folder / "trained"
    training_code(str(data), str(model), quick_options(setting.device, epochs=2))
    recipe = load_model(model, CPU).recipe
    signals = [*random_windows(recipe, 8)[0].numpy()]
    people = random_windows(recipe, 8)[1].numpy()
    probabilities = [
        load_model(model, each).probabilities(signals, people) for each in (CPU, setting.processor("fp32"))
    ]
    difference = float(np.abs(probabilities[1] - probabilities[0]).max())
    text = f"probabilities there and on the CPU differ by {difference:.2g} (at most {ON_CPU:g})"
    ok = bool(np.isfinite(probabilities[0]).all()) and difference <= ON_CPU
    yield Finding("a model trained on the device, on the CPU", ok, text, {"probabilities": difference})


CHECKS: tuple[Check, ...] = (outputs, gradients, three_steps, pretrained, trained_there)
