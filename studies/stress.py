"""What another machine may do to a recording, and what that costs: networks of the study on fold 8, changed on purpose.

    python -m studies.stress RESULTS PTBXL INDEX.csv --recipes paper,robust,robust-band --seeds 2020,2021,2022

RESULTS has the networks that `studies.study` trained on split home. Prints, for each change, the challenge metric of
each recipe by its own way to labels, the mean of the seeds, and what the change cost. The tests of the study say what a
recipe is worth where other machines took the recordings; these say which of its parts holds against what.
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
from studies.judge import answers_of
from studies.pictures import small
from studies.study import VARIANTS, answered, prepared, read_index, way_of

MARKS = "os^Dv"
Signal = NDArray[np.float64]  # (leads, samples), mV
Change = Callable[[Signal, float, Generator], Signal]  # of a signal with so many Hz


# --------------------------------------------------------------------------------------------------------- the changes


def offset(size: float) -> Change:
    """Each lead that much higher or lower: what electrodes add where an amplifier lets direct current through."""
    return lambda signal, hertz, random: signal + size * random.choice([-1, 1], (len(signal), 1))


def waves(size: float, *frequencies: float) -> Change:
    """Sines of that root mean square together, in each lead of their own phase."""

    def change(signal: Signal, hertz: float, random: Generator) -> Signal:
        turns = np.outer(frequencies, np.arange(signal.shape[1]) / hertz)  # (frequencies, samples)
        phases = random.random((len(signal), len(frequencies), 1))
        return signal + size * np.sqrt(2 / len(frequencies)) * np.sin(2 * np.pi * (turns + phases)).sum(1)

    return change


def noise(size: float) -> Change:
    """White noise of that root mean square."""
    return lambda signal, hertz, random: signal + random.normal(0, size, signal.shape)


def louder(factor: float) -> Change:
    """Another gain than the header has."""
    return lambda signal, hertz, random: factor * signal


def filtered(kind: str, frequency: float) -> Change:
    """Another filter: Butterworth's of second order, forward and backward."""
    return lambda signal, hertz, random: sosfiltfilt(butter(2, frequency, kind, fs=hertz, output="sos"), signal)


def lost(count: int) -> Change:
    """So many leads without a signal."""

    def change(signal: Signal, hertz: float, random: Generator) -> Signal:
        signal = signal.copy()
        signal[random.choice(len(signal), count, replace=False)] = 0
        return signal

    return change


def arms_swapped(signal: Signal, hertz: float, random: Generator) -> Signal:
    """The electrodes of both arms at each other's place: I turned round, II for III, aVR for aVL."""
    swapped = signal[[0, 2, 1, 4, 3, *range(5, 12)]]
    swapped[0] *= -1
    return swapped


CHANGES: dict[str, Change] = {
    "as it is": lambda signal, hertz, random: signal,
    "offset of 0.5 mV": offset(0.5),
    "offset of 2 mV": offset(2.0),
    "baseline wanders, 0.15 to 0.45 Hz, 0.3 mV": waves(0.3, 0.15, 0.3, 0.45),
    "mains hum, 50 Hz, 0.15 mV": waves(0.15, 50.0),
    "muscle noise, 0.1 mV": noise(0.1),
    "half the gain": louder(0.5),
    "twice the gain": louder(2.0),
    "low-pass at 20 Hz": filtered("lowpass", 20.0),
    "high-pass at 1 Hz": filtered("highpass", 1.0),
    "two leads lost": lost(2),
    "arms swapped": arms_swapped,
}


def changed(recording: Recording, change: Change, random: Generator) -> Recording:
    """The recording as the machine would have stored it, in the same counts per mV."""
    gains, baselines = recording.adc_gain[:, None], recording.baseline[:, None]
    signal = change((recording.counts - baselines) / gains, recording.sampling_frequency, random)
    counts = np.clip(np.rint(signal * gains + baselines), -(1 << 15) + 1, (1 << 15) - 1).astype(np.int16)
    return dataclasses.replace(recording, counts=counts)


# ------------------------------------------------------------------------------------------------------------ the runs


def stressed(part: Dataset, recordings: Sequence[Recording], change: Change, recipe: SignalRecipe) -> Dataset:
    """A part of a prepared data set, prepared anew from changed recordings."""
    random = np.random.default_rng(0)  # the same for all recipes and seeds
    news = [changed(recording, change, random) for recording in recordings]
    signals = [prepare(recording, recipe) for recording in news]
    lengths = np.array([signal.values.shape[1] for signal in signals])
    numbers = [auxiliary_features(recording.header, signal) for recording, signal in zip(news, signals, strict=True)]
    return dataclasses.replace(
        part,
        samples=np.ascontiguousarray(np.concatenate([signal.values.T for signal in signals])),
        starts=np.cumsum(lengths) - lengths,
        lengths=lengths,
        auxiliary_features=np.stack(numbers),
    )


def scores(arguments: argparse.Namespace, name: str) -> dict[str, float]:
    """The mean score of a recipe's networks by change."""
    recipe, processor = VARIANTS[name], choose_processor(threads=arguments.threads)
    part = prepared(recipe, "home", read_index(arguments.index), arguments)["test"]
    recordings = [read_recording(arguments.data / one) for one in part.names]
    runs = []
    for seed in arguments.seeds.split(","):
        path = arguments.results / name / "home" / seed
        run = FoldState.begin(recipe, 0, processor)
        run.networks.ema_network.load_state_dict(load_file(path.with_suffix(".safetensors")))
        with np.load(path.with_suffix(".npz"), allow_pickle=False) as stored:
            runs.append((run, dict(stored)))
    found = {}
    for change in CHANGES:
        these = stressed(part, recordings, CHANGES[change], recipe.signal)
        values = []
        for run, stored in runs:
            answers = answers_of(stored | {"test": answered(run, these)}, "test", ROBUST.decision.prevalence_shift)
            values.append(challenge_metric(part.labels, answers[way_of(name)]))
        found[change] = float(np.mean(values))
    return found


def draw(table: Mapping[str, Mapping[str, float]]) -> Figure:
    """The scores of each recipe by change, a row for each change, the recipes' marks one below the other in it."""
    with own_settings():
        figure = Figure(figsize=(8.0, 0.9 + 0.36 * len(CHANGES)), layout="constrained")
        axes = figure.add_subplot()
        for place, (name, found) in enumerate(table.items()):
            rows = np.arange(len(CHANGES)) + 0.6 * (place + 0.5) / len(table) - 0.3
            colour, mark = COLOURS[place % len(COLOURS)], MARKS[place % len(MARKS)]
            axes.plot([found[change] for change in CHANGES], rows, mark, color=colour, markersize=5, label=name)
            axes.axvline(found["as it is"], color=colour, linewidth=0.7, linestyle="dotted")
        axes.set_yticks(range(len(CHANGES)), list(CHANGES))
        axes.set_yticks(np.arange(len(CHANGES) - 1) + 0.5, minor=True)
        axes.set_ylim(len(CHANGES) - 0.5, -0.5)
        axes.set_xlabel("challenge metric; dotted: of the recordings as they are", fontsize=8)
        axes.grid(axis="x", alpha=0.25)
        axes.grid(axis="y", which="minor", alpha=0.25)
        axes.tick_params(axis="y", which="both", length=0)
        figure.legend(loc="outside lower center", ncols=len(table), frameon=False, fontsize=8)
    return figure


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command."""
    parser = argparse.ArgumentParser("studies.stress", description="Changes recordings.", allow_abbrev=False)
    parser.add_argument("results", type=Path)
    parser.add_argument("data", type=Path, help="folder of recordings that the index names")
    parser.add_argument("index", type=Path)
    parser.add_argument("--recipes", default="paper,robust", help="that have been trained on split home")
    parser.add_argument("--seeds", default="2020")
    parser.add_argument("--threads", type=int, default=NetworkOptions().threads, help="default %(default)s")
    parser.add_argument("--picture", type=Path, help="also draw it, as a PNG")
    parser.set_defaults(away=None)
    arguments = parser.parse_args(argv)
    table = {name: scores(arguments, name) for name in arguments.recipes.split(",")}
    print(" | ".join(["change", *table]))
    for change in CHANGES:
        cells = [f"{found[change]:.3f} ({found[change] - found['as it is']:+.3f})" for found in table.values()]
        print(" | ".join([change, *cells]))
    if arguments.picture:
        with atomic_write(arguments.picture) as file:
            file.write(small(figure_bytes(draw(table), "png", 110)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
