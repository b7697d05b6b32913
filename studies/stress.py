"""Perturb the recordings of fold 8 and measure the loss of score: which part of a recipe is robust to which change.

    python -m studies.stress RESULTS PTBXL INDEX.csv --recipes paper,robust,robust-band --seeds 2020,2021,2022

RESULTS has the networks that `studies.study` trained on split `in-distribution`. Prints for each perturbation the
challenge metric of each recipe by its own label rule, the mean over the seeds, and the difference to the unchanged
recordings.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.random import Generator
from numpy.typing import NDArray
from safetensors.torch import load_file
from scipy.signal import butter, sosfiltfilt

from leadwise.challenge.metric import challenge_metric
from leadwise.data.dataset import Dataset
from leadwise.ecg.preprocessing import auxiliary_features, prepare
from leadwise.ecg.recording import Recording, read_recording
from leadwise.network.devices import choose_processor
from leadwise.options import NetworkOptions
from leadwise.recipes import ROBUST, SignalRecipe
from leadwise.report.charts import COLOURS
from leadwise.report.sheet.paper import figure_bytes, own_settings
from leadwise.training.fold_state import FoldState
from leadwise.util.files import atomic_write
from studies.pictures import reduce_colours
from studies.run_metrics import answers_of
from studies.study import VARIANTS, label_rule, prepared, probabilities_of, read_index

MARKS = "os^Dv"
Signal = NDArray[np.float64]  # (leads, samples), mV
Perturbation = Callable[[Signal, float, Generator], Signal]  # signal, sampling frequency in Hz, random numbers


# --- the perturbations


def offset(size: float) -> Perturbation:
    """Shift each lead up or down by `size` mV: the electrode offset that an amplifier without high-pass keeps."""
    return lambda signal, frequency, random: signal + size * random.choice([-1, 1], (len(signal), 1))


def waves(size: float, *frequencies: float) -> Perturbation:
    """Add sines of a joint root mean square of `size` mV, with random phases in each lead."""

    def perturb(signal: Signal, frequency: float, random: Generator) -> Signal:
        turns = np.outer(frequencies, np.arange(signal.shape[1]) / frequency)  # (frequencies, samples)
        phases = random.random((len(signal), len(frequencies), 1))
        return signal + size * np.sqrt(2 / len(frequencies)) * np.sin(2 * np.pi * (turns + phases)).sum(1)

    return perturb


def noise(size: float) -> Perturbation:
    """Add white noise with a root mean square of `size` mV."""
    return lambda signal, frequency, random: signal + random.normal(0, size, signal.shape)


def amplified(factor: float) -> Perturbation:
    """Multiply by another gain than the header's."""
    return lambda signal, frequency, random: factor * signal


def filtered(kind: str, cutoff: float) -> Perturbation:
    """Apply a Butterworth filter of second order, forward and backward."""
    return lambda signal, frequency, random: sosfiltfilt(butter(2, cutoff, kind, fs=frequency, output="sos"), signal)


def without_leads(count: int) -> Perturbation:
    """Set `count` random leads to zero."""

    def perturb(signal: Signal, frequency: float, random: Generator) -> Signal:
        signal = signal.copy()
        signal[random.choice(len(signal), count, replace=False)] = 0
        return signal

    return perturb


def arms_swapped(signal: Signal, frequency: float, random: Generator) -> Signal:
    """Exchange the electrodes of the two arms: I inverted, II with III, aVR with aVL."""
    swapped = signal[[0, 2, 1, 4, 3, *range(5, 12)]]
    swapped[0] *= -1
    return swapped


PERTURBATIONS: dict[str, Perturbation] = {
    "unchanged": lambda signal, frequency, random: signal,
    "offset of 0.5 mV": offset(0.5),
    "offset of 2 mV": offset(2.0),
    "baseline wander, 0.15 to 0.45 Hz, 0.3 mV": waves(0.3, 0.15, 0.3, 0.45),
    "mains hum, 50 Hz, 0.15 mV": waves(0.15, 50.0),
    "muscle noise, 0.1 mV": noise(0.1),
    "half the gain": amplified(0.5),
    "twice the gain": amplified(2.0),
    "low-pass at 20 Hz": filtered("lowpass", 20.0),
    "high-pass at 1 Hz": filtered("highpass", 1.0),
    "two leads lost": without_leads(2),
    "arms swapped": arms_swapped,
}


def perturbed(recording: Recording, perturbation: Perturbation, random: Generator) -> Recording:
    """Return the perturbed recording in int16 counts, with the gains of the original."""
    gains, baselines = recording.adc_gain[:, None], recording.baseline[:, None]
    signal = perturbation((recording.counts - baselines) / gains, recording.sampling_frequency, random)
    counts = np.clip(np.rint(signal * gains + baselines), -(1 << 15) + 1, (1 << 15) - 1).astype(np.int16)
    return dataclasses.replace(recording, counts=counts)


# --- the runs


def prepare_perturbed(
    part: Dataset, recordings: Sequence[Recording], perturbation: Perturbation, recipe: SignalRecipe
) -> Dataset:
    """Return a part of a prepared data set, prepared again from perturbed recordings."""
    random = np.random.default_rng(0)  # the same for all recipes and seeds
    recordings = [perturbed(recording, perturbation, random) for recording in recordings]
    signals = [prepare(recording, recipe) for recording in recordings]
    lengths = np.array([signal.values.shape[1] for signal in signals])
    pairs = zip(recordings, signals, strict=True)
    return dataclasses.replace(
        part,
        samples=np.ascontiguousarray(np.concatenate([signal.values.T for signal in signals])),
        starts=np.cumsum(lengths) - lengths,
        lengths=lengths,
        auxiliary_features=np.stack([auxiliary_features(recording.header, signal) for recording, signal in pairs]),
    )


def scores(arguments: argparse.Namespace, name: str) -> dict[str, float]:
    """Return by perturbation the score of a recipe, the mean over its seeds."""
    recipe, processor = VARIANTS[name], choose_processor(threads=arguments.threads)
    part = prepared(recipe, "in-distribution", read_index(arguments.index), arguments)["test"]
    recordings = [read_recording(arguments.data / record) for record in part.names]
    runs = []
    for seed in arguments.seeds.split(","):
        path = arguments.results / name / "in-distribution" / seed
        state = FoldState.begin(recipe, 0, processor)
        state.networks.ema_network.load_state_dict(load_file(path.with_suffix(".safetensors")))
        with np.load(path.with_suffix(".npz"), allow_pickle=False) as stored:
            runs.append((state, dict(stored)))
    found = {}
    for perturbation in PERTURBATIONS:
        test = prepare_perturbed(part, recordings, PERTURBATIONS[perturbation], recipe.signal)
        values = []
        for state, stored in runs:
            arrays = stored | {"test": probabilities_of(state, test)}
            answers = answers_of(arrays, "test", ROBUST.decision.prevalence_shift)
            values.append(challenge_metric(part.labels, answers[label_rule(name)]))
        found[perturbation] = float(np.mean(values))
    return found


def draw(table: Mapping[str, Mapping[str, float]]) -> Figure:
    """Draw the scores: a row for each perturbation, with the recipes' marks below each other."""
    with own_settings():
        figure = Figure(figsize=(8.0, 0.9 + 0.36 * len(PERTURBATIONS)), layout="constrained")
        axes = figure.add_subplot()
        for place, (recipe, found) in enumerate(table.items()):
            rows = np.arange(len(PERTURBATIONS)) + 0.6 * (place + 0.5) / len(table) - 0.3
            colour, mark = COLOURS[place % len(COLOURS)], MARKS[place % len(MARKS)]
            axes.plot([found[name] for name in PERTURBATIONS], rows, mark, color=colour, markersize=5, label=recipe)
            axes.axvline(found["unchanged"], color=colour, linewidth=0.7, linestyle="dotted")
        axes.set_yticks(range(len(PERTURBATIONS)), list(PERTURBATIONS))
        axes.set_yticks(np.arange(len(PERTURBATIONS) - 1) + 0.5, minor=True)
        axes.set_ylim(len(PERTURBATIONS) - 0.5, -0.5)
        axes.set_xlabel("challenge metric; dotted: on the unchanged recordings", fontsize=8)
        axes.grid(axis="x", alpha=0.25)
        axes.grid(axis="y", which="minor", alpha=0.25)
        axes.tick_params(axis="y", which="both", length=0)
        figure.legend(loc="outside lower center", ncols=len(table), frameon=False, fontsize=8)
    return figure


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser("studies.stress", description="Perturbs recordings.", allow_abbrev=False)
    parser.add_argument("results", type=Path)
    parser.add_argument("data", type=Path, help="folder with the recordings of the index")
    parser.add_argument("index", type=Path)
    parser.add_argument("--recipes", default="paper,robust", help="trained on split in-distribution")
    parser.add_argument("--seeds", default="2020")
    parser.add_argument("--threads", type=int, default=NetworkOptions().threads, help="default %(default)s")
    parser.add_argument("--picture", type=Path, help="also draw the table, as a PNG")
    parser.set_defaults(external=None)
    arguments = parser.parse_args(argv)
    table = {name: scores(arguments, name) for name in arguments.recipes.split(",")}
    print(" | ".join(["perturbation", *table]))
    for name in PERTURBATIONS:
        cells = [f"{found[name]:.3f} ({found[name] - found['unchanged']:+.3f})" for found in table.values()]
        print(" | ".join([name, *cells]))
    if arguments.picture:
        with atomic_write(arguments.picture) as file:
            file.write(reduce_colours(figure_bytes(draw(table), "png", 110)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
