"""Part fast: measure an epoch at the Challenge's full size, and show that no step of the batch loop waits."""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.gpu import speed
from benchmarks.gpu.material import random_dataset, recipes
from benchmarks.gpu.setting import Check, Finding, Setting
from benchmarks.gpu.waits import refused, synchronisations
from leadwise.data.dataset import Dataset
from leadwise.recipes import Recipe
from leadwise.training.examples import Examples
from leadwise.training.fold_state import FoldState
from leadwise.training.validation import predict
from leadwise.util.progress import duration

RECORDINGS = 37_749  # of the Challenge that have a scored diagnosis
HELD_OUT = 7_550  # of them, validated in a fold of five
LARGER = (128, 256, 512)
TRIAL = 40  # batches per trial of a batch size
MINUTES, MFU = 25.0, 0.35  # goals: five folds of 50 epochs, model FLOP utilisation


@dataclass(frozen=True, eq=False)
class Course:
    """A recipe with a data set on the device; the last `held_out` recordings are the validation part."""

    setting: Setting
    recipe: Recipe
    dataset: Dataset
    examples: Examples
    held_out: int

    @classmethod
    def of(cls, setting: Setting, recipe: Recipe, held_out: int) -> Course:
        """Return a course with a data set of the Challenge's size, or a small one in a rehearsal."""
        dataset = random_dataset(recipe, setting.few(RECORDINGS, 24))
        return cls(setting, recipe, dataset, Examples.of(dataset, setting.device), setting.few(held_out, 8))

    def state(self, precision: str) -> FoldState:
        """Return the state of a training with fresh weights."""
        processor = self.setting.processor(precision)
        state = FoldState.begin(self.recipe, 1, processor)
        networks = state.networks
        networks.forward = self.setting.forward(networks.network, processor, self.recipe)
        networks.ema_forward = self.setting.forward(networks.ema_network, processor, self.recipe)
        return state

    def with_batch(self, size: int) -> Course:
        """Return the same with another batch size."""
        training = dataclasses.replace(self.recipe.training, batch_size=size)
        return dataclasses.replace(self, recipe=dataclasses.replace(self.recipe, training=training))

    def epoch(self, precision: str) -> tuple[speed.Speed, float]:
        """Return the speed of training in one epoch, and the seconds of its validation."""
        state, trained = self.state(precision), len(self.dataset) - self.held_out
        training_speed = speed.train(self.setting, state, self.examples, trained)
        members = np.arange(trained, len(self.dataset))

        def validate() -> None:
            predict(state, self.examples, self.dataset.lengths, members)

        validate()  # so that cuDNN has chosen its algorithms for these shapes
        return training_speed, speed.seconds(self.setting, validate)

    def trial(self, precision: str) -> speed.Speed:
        """Return the speed of a few batches of training."""
        batches = self.setting.few(TRIAL, 2)
        recordings = batches * self.recipe.training.batch_size
        return speed.train(self.setting, self.state(precision), self.examples, recordings)


def paper(setting: Setting) -> Iterator[Finding]:
    """Measure `paper` as published, check that nothing waits, then try larger batches and the other precision."""
    course = Course.of(setting, recipes(setting.rehearse)[0], HELD_OUT)
    yield _epoch(course, "bf16")
    yield from _waits(course)
    yield _best_size(course, "bf16")
    yield _epoch(course, "fp16")
    yield _best_size(course, "fp16")


def robust(setting: Setting) -> Iterator[Finding]:
    """Measure `robust`, and estimate the time of the default training."""
    recipe = recipes(setting.rehearse)[1]
    course = Course.of(setting, recipe, RECORDINGS // recipe.training.folds)
    for precision in ("bf16", "fp16"):
        yield _epoch(course, precision)
    yield from _waits(course)


def _epoch(course: Course, precision: str) -> Finding:
    """Measure one epoch at full size, and estimate the time of a complete training."""
    trained, validation = course.epoch(precision)
    recipe, size = course.recipe, course.recipe.training.batch_size
    complete = _complete_training(course, trained, validation)
    text = f"{trained}; an epoch {trained.seconds:.2f} + {validation:.2f} s, {complete[0]} {duration(complete[1])}"
    numbers = trained.numbers() | {"validation_seconds": validation, "training_seconds": complete[1]}
    if recipe.name == "paper":
        numbers |= {"goal_minutes": complete[1] / 60 < MINUTES, "goal_mfu": trained.mfu > MFU}
        text += f"; goals: {MINUTES:g} min {_met(complete[1] / 60 < MINUTES)}, mfu {MFU:g} {_met(trained.mfu > MFU)}"
    return Finding(f"{recipe.name}, {precision}, batch {size}", True, text, numbers)


def _met(reached: bool) -> str:
    return "met" if reached else "missed"


def _complete_training(course: Course, trained: speed.Speed, validation: float) -> tuple[str, float]:
    """Describe a complete training, and return its seconds on the GPU."""
    training, epoch = course.recipe.training, trained.seconds + validation
    networks = training.networks or training.folds
    simulated = training.simulated * training.simulated_epochs / trained.rate
    name = f"{networks} folds of {training.epochs} epochs"
    name += f" and {training.simulated_epochs} of {training.simulated:,} simulated ECGs" if training.simulated else ""
    return name, networks * training.epochs * epoch + simulated


def _best_size(course: Course, precision: str) -> Finding:
    """Try larger batches and measure an epoch with the fastest size."""
    tried, reasons = {}, []
    for size in LARGER[: course.setting.few(len(LARGER), 1)]:
        size = course.setting.few(size, 16)
        try:
            tried[size] = course.with_batch(size).trial(precision)
        except torch.OutOfMemoryError:
            reasons.append(f"{size} does not fit")
        gc.collect()
        torch.cuda.empty_cache()
    best = max(tried, key=lambda size: tried[size].rate)
    finding = _epoch(course.with_batch(best), precision)
    rates = ", ".join([*(f"{size}: {each.rate:,.0f}/s" for size, each in tried.items()), *reasons])
    return dataclasses.replace(finding, text=f"{finding.text} ({rates})")


def _waits(course: Course) -> Iterator[Finding]:
    """Count the calls that make the host wait for the GPU in the batch loop."""
    found = synchronisations(course.setting, course.state("bf16"), course.examples)
    counts = ", ".join(f"{name} {count:g}" for name, count in found.items()) or "none"
    ok = not any(found.values())
    yield Finding(f"{course.recipe.name}: waits in a batch", ok, f"by the profiler: {counts}", found)
    for precision in ("bf16", "fp16"):
        reason = refused(course.setting, course.state(precision), course.examples)
        text = reason or "PyTorch finds no operation that waits"
        yield Finding(f"{course.recipe.name}, {precision}: sync debug mode", not reason, text)


CHECKS: tuple[Check, ...] = (paper, robust)
