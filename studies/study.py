"""Which recipe holds in a hospital that it has never seen? Recipes x splits x seeds, resumable, one table at the end.

    python -m studies.study train RESULTS PTBXL INDEX.csv --away AWAY --recipes paper,robust --splits home,device:AT
    python -m studies.study table RESULTS

PTBXL is a folder of recordings, INDEX.csv tells their fold, patient and device (columns record, fold, patient, device).
Splits: `home` trains on folds 1 to 6, chooses on 7, tests on 8, and on the folder AWAY of other hospitals; `crossed:K`
is the same with fold K tested and the fold before it chosen on; `device:FAMILY` tests on all recordings of a device
family (CS-12, CS100, AT), whose patients are not trained on, and chooses on fold 7 of the others; `third` is home
with a third of its training recordings; `adapt:FAMILY:N` trains on N recordings of a family's folds 1 to 5, chooses on
its fold 6 and tests on its folds 7 and 8. One network a run, in the precision that train_model.py would take. A
recipe's name with `+init` (robust+init) begins with the network that `device:FAMILY` left, which has seen nothing of
that family.
Each run leaves RESULTS/RECIPE/SPLIT/SEED.npz with the probabilities of what it was chosen and tested on, and its
network in SEED.safetensors, and is not run again.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from leadwise.data.dataset import Dataset
from leadwise.data.prepare import prepare_dataset
from leadwise.network.devices import Processor, choose_processor
from leadwise.options import NetworkOptions
from leadwise.recipes import PAPER, RECIPES, ROBUST, Recipe, SignalRecipe
from leadwise.training.checkpoint import State
from leadwise.training.epoch import FoldData
from leadwise.training.examples import Examples
from leadwise.training.fold import FoldTask, train_fold
from leadwise.training.fold_state import FoldState
from leadwise.training.pretraining import pretrain
from leadwise.training.validation import predict
from leadwise.util.memory import tune_malloc
from leadwise.util.progress import log, log_to_stdout
from studies.judge import FIGURES, judge

FAMILIES = ("CS-12", "CS100", "AT")

# From `paper` to `robust`, one step at a time; each has all that come before it.
LADDER: dict[str, Recipe] = {"paper": PAPER}


def changed(recipe: Recipe, **parts: Mapping[str, Any]) -> Recipe:
    """The recipe with some numbers of some parts changed."""
    replaced = {part: dataclasses.replace(getattr(recipe, part), **values) for part, values in parts.items()}
    return dataclasses.replace(recipe, **replaced)


def _step(name: str, **parts: Mapping[str, Any]) -> None:
    LADDER[name] = dataclasses.replace(changed(list(LADDER.values())[-1], **parts), name=name)


# The steps that make an epoch cheap come first.
_step("+rate", signal={"sampling_frequency": 128, "window": 640, "overlap": 160})
_step("+unit", signal={"unit": "mV", "resampling": "polyphase", "scale": "rms"}, network={"demographics": 6})
_step("+band", signal=dataclasses.asdict(ROBUST.signal))
SCHEDULE = ("optimiser", "schedule", "learning_rate", "weight_decay", "ema_decay", "keep")
_step("+schedule", training={name: getattr(ROBUST.training, name) for name in SCHEDULE})
_step("+machine", augmentation=dataclasses.asdict(dataclasses.replace(ROBUST.augmentation, mixup=0.0)))
_step("+mixup", augmentation={"mixup": ROBUST.augmentation.mixup})
_step(
    "+reward",
    training={"proxy_labels": True},
    decision={"method": "reward", "prevalence_shift": ROBUST.decision.prevalence_shift},
)
_step("+simulated", training={"simulated": ROBUST.training.simulated})

# `robust` without one of its parts. Augmentation and schedule are left out where real recordings are learnt alone: all
# of these but `-band` begin with what simulated ECGs have taught `robust`.
AUGMENTED = dict.fromkeys(("filters", "noise", "gain", "lead_loss", "hidden_demographics"), 0.0)
WITHOUT = {
    "robust-band": changed(ROBUST, signal={"band": None}),
    "robust-machine": changed(ROBUST, augmentation=AUGMENTED),
    "robust-schedule": changed(ROBUST, training={name: getattr(PAPER.training, name) for name in SCHEDULE}),
    "robust-mixup": changed(ROBUST, augmentation={"mixup": 0.0}),
    "robust-both": changed(ROBUST, augmentation=AUGMENTED | {"mixup": 0.0}),
}
VARIANTS = LADDER | {name: RECIPES[name] for name in ("robust", "quick")} | WITHOUT


# ---------------------------------------------------------------------------------------------------------- the splits


def read_index(path: Path) -> dict[str, dict[str, str]]:
    """The rows of an index by record."""
    with path.open(newline="", encoding="utf-8") as file:
        return {row["record"]: row for row in csv.DictReader(file)}


def masks(split: str, names: Sequence[str], index: Mapping[str, Mapping[str, str]]) -> dict[str, NDArray[np.bool_]]:
    """Which recordings a split trains on, chooses on and tests on, (n,) each; ValueError for an unknown split."""
    folds = np.array([int(index[name]["fold"]) for name in names])
    patients = np.array([index[name]["patient"] for name in names])
    kind, _, which = split.partition(":")
    if split == "home" or (kind == "crossed" and which in map(str, range(1, 9))):
        tested = 8 if split == "home" else int(which)
        chosen = (tested - 2) % 8 + 1
        return {"train": ~np.isin(folds, [tested, chosen]), "choose": folds == chosen, "test": folds == tested}
    if split == "third":
        parts = masks("home", names, index)
        return parts | {"train": spread(parts["train"], math.ceil(parts["train"].sum() / 3))}
    if kind == "adapt" and (given := re.fullmatch(f"({'|'.join(FAMILIES)}):([1-9][0-9]*)", which)):
        family = np.char.startswith([index[name]["device"] for name in names], given[1])
        train = spread(family & (folds <= 5), int(given[2]))
        return {"train": train, "choose": family & (folds == 6), "test": family & (folds >= 7)}
    if kind == "device" and which in FAMILIES:
        devices = np.array([index[name]["device"] for name in names])
        test = np.char.startswith(devices, which)
        others = ~np.isin(patients, patients[test])
        choose = others & (folds == 7) & (devices != "")
        return {"train": others & (folds != 7), "choose": choose, "test": test}
    families = ", ".join(f"device:{family}, adapt:{family}:N" for family in FAMILIES)
    raise ValueError(f"{split!r} is no split: home, third, crossed:1 to crossed:8, {families}")


def spread(mask: NDArray[np.bool_], count: int) -> NDArray[np.bool_]:
    """So many of the recordings in a mask (n,), at equal distances; ValueError where there are not so many."""
    members = np.flatnonzero(mask)
    if count > len(members):
        raise ValueError(f"{count} recordings are asked for, of {len(members)}")
    chosen = np.zeros_like(mask)
    chosen[members[np.arange(count) * len(members) // count]] = True
    return chosen


# ------------------------------------------------------------------------------------------------------------ the runs


@dataclass(frozen=True)
class InitialWeights:
    """What a network begins with; None and nothing: random weights."""

    weights: State | None = None
    simulation_network: State | None = None  # of the network that simulated ECGs alone have taught, where there is one
    target_prevalence: Sequence[float] = ()  # the class frequencies of these


def run(
    recipe: Recipe, parts: Mapping[str, Dataset], seed: int, path: Path, processor: Processor, begins: InitialWeights
) -> dict[str, NDArray[Any]]:
    """Trains one network and leaves it in `path`.safetensors; its probabilities (`choose`, and each part whose name
    begins with test), labels and the rest that the table asks for; the textbook's probabilities too.
    """
    both = join(parts["train"], parts["choose"])
    validation = np.arange(len(both)) >= len(parts["train"])
    checkpoint = path.with_suffix(".checkpoint")
    data = FoldData(both, validation, 0)
    result = train_fold(FoldTask(data, recipe, processor, checkpoint, seed, begins.weights))
    assert result is not None  # there is no limit of time
    state = FoldState.begin(recipe, seed, processor)
    state.networks.ema_network.load_state_dict(result.weights)
    save_file(result.weights, path.with_suffix(".safetensors"))
    found: dict[str, NDArray[Any]] = {"choose": result.probabilities, "choose_labels": parts["choose"].labels}
    taught = parts["choose"].targets(recipe.training.proxy_labels)
    found |= {
        "choose_targets": taught,
        "target_prevalence": parts["train"].targets(recipe.training.proxy_labels).mean(0),
    }
    found |= {"prior": parts["train"].labels, "acquisitions": parts["train"].acquisitions}
    tests = [name for name in parts if name.startswith("test")]
    for name in tests:
        part = parts[name]
        found[name] = answered(state, part)
        found |= {f"{name}_labels": part.labels, f"{name}_sources": np.array(part.sources)}
        found[f"{name}_acquisitions"] = part.acquisitions
    if begins.simulation_network is not None:
        state.networks.ema_network.load_state_dict(begins.simulation_network)
        found |= {f"{name}_textbook": answered(state, parts[name]) for name in tests}
        found["textbook_learned"] = np.array(begins.target_prevalence)
    return found


def answered(state: FoldState, part: Dataset) -> NDArray[np.float32]:
    """The probabilities of a part's recordings, (recordings, 24)."""
    return predict(state, Examples.of(part, state.processor.device), part.lengths, np.arange(len(part)))


def join(*parts: Dataset) -> Dataset:
    """Parts of one prepared data set as one."""
    rows = {name: np.concatenate([getattr(part, name) for part in parts]) for name in Dataset.ROWS}
    lists = {name: tuple(chain(*(getattr(part, name) for part in parts))) for name in ("names", "sources", "groups")}
    return dataclasses.replace(parts[0], **rows, **lists)


def train(arguments: argparse.Namespace) -> None:
    """Every run that is asked for and not yet there."""
    index, processor = read_index(arguments.index), choose_processor(threads=arguments.threads)
    splits, seeds = arguments.splits.split(","), map(int, arguments.seeds.split(","))
    for name, split, seed in product(arguments.recipes.split(","), splits, list(seeds)):
        path = arguments.results / name / split.replace(":", "-") / f"{seed}.npz"
        if path.exists():
            continue
        log.info("%s, %s, seed %d", name, split, seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        recipe = VARIANTS[name.removesuffix("+init")]
        if arguments.epochs is not None:
            recipe = changed(recipe, training={"epochs": arguments.epochs})
        begins = initial_weights(name, recipe, split, seed, arguments.results, processor)
        parts = prepared(recipe, split, index, arguments)
        found = run(recipe, parts, seed, path, processor, begins)
        temporary = path.with_suffix(".partial.npz")
        np.savez(temporary, epochs=recipe.training.epochs, **found)
        temporary.replace(path)
        for left in path.parent.glob(f"{seed}.checkpoint*"):
            left.unlink()


def initial_weights(
    name: str, recipe: Recipe, split: str, seed: int, results: Path, processor: Processor
) -> InitialWeights:
    """What a run begins with: the network that the family's other devices taught, or that `robust` has left on the same
    split; or one that learnt from simulated ECGs as `robust` does, once for all splits and seeds and for
    all recipes with the same signals.
    """
    if name.endswith("+init"):
        folder = results / name.removesuffix("+init") / f"device-{split.split(':')[1]}"
        return InitialWeights(load_file(folder / f"{seed}.safetensors"))
    if not recipe.training.simulated:
        return InitialWeights()
    work = results / "begins" / f"{recipe.training.simulated}-{input_name(recipe.signal)}"
    work.mkdir(parents=True, exist_ok=True)
    schedule = {name: getattr(ROBUST.training, name) for name in SCHEDULE}
    usual = changed(recipe, training=schedule, augmentation=dataclasses.asdict(ROBUST.augmentation))
    taught = pretrain(usual, work / "begin", work, processor, 1, math.inf)
    assert taught is not None  # there is no limit of time
    weights, simulation_network, target_prevalence = taught[0], taught[0], taught[1]["target_prevalence"]
    return InitialWeights(weights, simulation_network, target_prevalence)


def prepared(
    recipe: Recipe, split: str, index: Mapping[str, Mapping[str, str]], arguments: argparse.Namespace
) -> dict[str, Dataset]:
    """The parts of a split, prepared for a recipe; away recordings belong to home."""
    work = arguments.results / "prepared" / input_name(recipe.signal)
    data = prepare_dataset(arguments.data, work / "home", recipe.signal, 1)
    parts = {name: data.subset(mask) for name, mask in masks(split, data.names, index).items()}
    if split == "home" and arguments.away:
        parts["test_away"] = prepare_dataset(arguments.away, work / "away", recipe.signal, 1)
    return parts


def input_name(recipe: SignalRecipe) -> str:
    """What of a recipe tells prepared folders apart, as the name of one."""
    parts = recipe.sampling_frequency, recipe.unit, recipe.resampling, recipe.band is not None, recipe.scale
    return "-".join(map(str, parts))


# ----------------------------------------------------------------------------------------------------------- the table


def results(folder: Path) -> Iterator[tuple[str, str, int, dict[str, NDArray[Any]]]]:
    """Recipe, split, seed and arrays of every finished run."""
    for path in sorted(folder.glob("*/*/*.npz")):
        if ".partial" not in path.name:
            with np.load(path, allow_pickle=False) as stored:
                yield path.parts[-3], path.parts[-2], int(path.stem), dict(stored)


def way_of(name: str) -> str:
    """The column of the table that has a recipe's own decision."""
    decision = VARIANTS[name.removesuffix("+init")].decision
    reward = "reward textbook" if decision.simulation_network else "reward general"
    return {"search": "search", "reward": reward}[decision.method]


Runs = dict[tuple[str, str, int], list[dict[str, NDArray[Any]]]]  # by recipe, split and seed


def grouped(folder: Path) -> Runs:
    """All finished runs; those of turned folds (crossed) together."""
    runs: Runs = {}
    for name, split, seed, found in results(folder):
        runs.setdefault((name, re.sub("^crossed-.*", "crossed", split), seed), []).append(found)
    return runs


def table(arguments: argparse.Namespace) -> None:
    """Prints a line for each run and test set, with intervals and differences to another recipe, each by the
    labels that its own recipe decides on; the turned folds (crossed) in one line, all that a recipe has of them."""
    runs = grouped(arguments.results)
    order = {name: place for place, name in enumerate(VARIANTS)}
    print("recipe | split | seed | n | " + " | ".join(FIGURES))
    for name, split, seed in sorted(runs, key=lambda one: (one[1], order.get(one[0], 99), one[2])):
        mine, other = runs[name, split, seed], runs.get((arguments.against, split, seed))
        reference = (other, way_of(arguments.against)) if other and len(other) == len(mine) else None
        for test in test_sets(mine[0]):
            figures = judge(mine, test, way_of(name), arguments.prevalence_shift, reference)
            shown = split + ("" if test == "test" else test.removeprefix("test").replace("_", " "))
            count = sum(len(found[test]) for found in mine)
            print(f"{name} | {shown} | {seed} | {count} | " + " | ".join(figures[key] for key in FIGURES))


def test_sets(found: Mapping[str, object]) -> list[str]:
    """The names of the test sets of a run: test, and test_away."""
    return [key for key in ("test", "test_away") if key in found]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command."""
    parser = argparse.ArgumentParser("studies.study", description="Compares recipes on splits.", allow_abbrev=False)
    commands = parser.add_subparsers(required=True)
    training = commands.add_parser("train", help="run what is not yet there")
    training.set_defaults(do=train)
    training.add_argument("results", type=Path)
    training.add_argument("data", type=Path, help="folder of recordings that the index names")
    training.add_argument("index", type=Path)
    training.add_argument("--away", type=Path, help="folder of recordings of other hospitals, tested with split home")
    training.add_argument("--recipes", default="paper,robust", help=f"of {', '.join(VARIANTS)}; or one with +init")
    training.add_argument("--splits", default="home")
    training.add_argument("--seeds", default="2020")
    training.add_argument("--epochs", type=int, help="instead of the recipes' own")
    training.add_argument(
        "--threads", type=int, default=NetworkOptions().threads, help="of the CPU; default %(default)s"
    )
    showing = commands.add_parser("table", help="print the table of what is there")
    showing.set_defaults(do=table)
    showing.add_argument("results", type=Path)
    showing.add_argument("--against", default="paper", choices=VARIANTS, help="default %(default)s")
    showing.add_argument(
        "--prevalence-shift", type=float, default=ROBUST.decision.prevalence_shift, help="see DecisionRecipe"
    )
    arguments = parser.parse_args(argv)
    log_to_stdout()
    tune_malloc()
    arguments.do(arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
