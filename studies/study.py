"""Compare recipes on splits and seeds of PTB-XL and on external data. Runs are resumable; one table at the end.

    python -m studies.study train RESULTS PTBXL INDEX.csv --external FOLDER --recipes paper,robust \\
        --splits in-distribution,device:AT
    python -m studies.study table RESULTS
    python -m studies.study RESULTS DATA --splits source:A,source:E,source:HR

Without `train` or `table` it does both. PTBXL is a folder of recordings. INDEX.csv has their fold, patient and device
(columns record, fold, patient, device). DATA is a folder of several sources and needs no index. Splits:

- `in-distribution`: trains on folds 1 to 6, validates on fold 7, tests on fold 8, and on the recordings of other
  hospitals in the folder after --external.
- `crossed:K`: the same with fold K as test and the fold before it as validation part.
- `device:FAMILY`: tests on all recordings of a device family (CS-12, CS100, AT), whose patients are not trained on, and
  validates on fold 7 of the others.
- `third`: in-distribution with a third of the training recordings.
- `adapt:FAMILY:N`: trains on N recordings of a family's folds 1 to 5, validates on its fold 6, tests on folds 7 and 8.
- `source:PREFIX`: trains on all recordings of the other sources and tests on this one (`leave_one_source_out`). These
  runs have a table of their own.

One network per run, in the precision that train_model.py would take. A recipe's name with `+init` (robust+init) starts
from the network of the recipe's run on `device:FAMILY`, which has seen nothing of that family. Each run writes its
probabilities on validation part and test sets to RESULTS/RECIPE/SPLIT/SEED.npz and its network to SEED.safetensors, and
is not repeated.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import math
import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain, product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from leadwise.data.dataset import Dataset
from leadwise.data.prepare import prepare_dataset
from leadwise.model.initial_weights import InitialWeights
from leadwise.network.devices import Processor, choose_processor
from leadwise.options import NetworkOptions
from leadwise.recipes import PAPER, RECIPES, ROBUST, Recipe, SignalRecipe
from leadwise.training.epoch import FoldData
from leadwise.training.examples import Examples
from leadwise.training.fold import FoldTask, train_fold
from leadwise.training.fold_state import FoldState
from leadwise.training.pretraining import pretrain
from leadwise.training.validation import predict
from leadwise.util.memory import tune_malloc
from leadwise.util.progress import log, log_to_stdout
from studies.leave_one_source_out import COLUMNS, Result, source_masks, table_rows
from studies.run_metrics import FIGURES, figures_of

FAMILIES = ("CS-12", "CS100", "AT")
SOURCE = "source:"  # begins the splits that leave out one source

Key = tuple[str, str, int]  # recipe, split, seed

# From `paper` to `robust`, one step at a time; each has all that come before it.
LADDER: dict[str, Recipe] = {"paper": PAPER}


def changed(recipe: Recipe, **parts: Mapping[str, Any]) -> Recipe:
    """Return the recipe with some numbers of some parts replaced."""
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

# `robust` without one of its parts. Augmentation and schedule are left out for real recordings only: the initial
# weights are those of `robust`, except for `-band`, whose signals differ.
AUGMENTED = dict.fromkeys(
    ("filters", "noise", "gain", "lead_loss", "swaps", "interference", "hidden_demographics"), 0.0
)
ABLATIONS = {
    "robust-band": changed(ROBUST, signal={"band": None}),
    "robust-machine": changed(ROBUST, augmentation=AUGMENTED),
    "robust-schedule": changed(ROBUST, training={name: getattr(PAPER.training, name) for name in SCHEDULE}),
    "robust-mixup": changed(ROBUST, augmentation={"mixup": 0.0}),
    "robust-both": changed(ROBUST, augmentation=AUGMENTED | {"mixup": 0.0}),
}
VARIANTS = LADDER | {name: RECIPES[name] for name in ("robust", "quick")} | ABLATIONS


# --- the splits


def read_index(path: Path | None) -> dict[str, dict[str, str]]:
    """Read the rows of an index, by record; without a path there are none."""
    if path is None:
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {row["record"]: row for row in csv.DictReader(file)}


def masks(split: str, names: Sequence[str], index: Mapping[str, Mapping[str, str]]) -> dict[str, NDArray[np.bool_]]:
    """Return the recordings of the parts "train", "validation" and "test" of a split, (n,) each.

    Raises ValueError for an unknown split.
    """
    folds = np.array([int(index[name]["fold"]) for name in names])
    patients = np.array([index[name]["patient"] for name in names])
    kind, _, which = split.partition(":")
    if split == "in-distribution" or (kind == "crossed" and which in map(str, range(1, 9))):
        tested = 8 if split == "in-distribution" else int(which)
        validated = (tested - 2) % 8 + 1
        train = ~np.isin(folds, [tested, validated])
        return {"train": train, "validation": folds == validated, "test": folds == tested}
    if split == "third":
        parts = masks("in-distribution", names, index)
        return parts | {"train": spread(parts["train"], math.ceil(parts["train"].sum() / 3))}
    if kind == "adapt" and (found := re.fullmatch(f"({'|'.join(FAMILIES)}):([1-9][0-9]*)", which)):
        family = np.char.startswith([index[name]["device"] for name in names], found[1])
        train = spread(family & (folds <= 5), int(found[2]))
        return {"train": train, "validation": family & (folds == 6), "test": family & (folds >= 7)}
    if kind == "device" and which in FAMILIES:
        devices = np.array([index[name]["device"] for name in names])
        test = np.char.startswith(devices, which)
        others = ~np.isin(patients, patients[test])
        validation = others & (folds == 7) & (devices != "")
        return {"train": others & (folds != 7), "validation": validation, "test": test}
    families = ", ".join(f"device:{family}, adapt:{family}:N" for family in FAMILIES)
    raise ValueError(
        f"{split!r} is no split: in-distribution, third, crossed:1 to crossed:8, {families}, source:PREFIX"
    )


def spread(mask: NDArray[np.bool_], count: int) -> NDArray[np.bool_]:
    """Return `count` of the recordings in a mask (n,), evenly spaced. Raises ValueError if it has fewer."""
    members = np.flatnonzero(mask)
    if count > len(members):
        raise ValueError(f"{count} recordings are requested, there are {len(members)}")
    chosen = np.zeros_like(mask)
    chosen[members[np.arange(count) * len(members) // count]] = True
    return chosen


# --- the runs


def run(
    recipe: Recipe,
    parts: Mapping[str, Dataset],
    seed: int,
    path: Path,
    processor: Processor,
    initial: InitialWeights | None,
) -> dict[str, NDArray[Any]]:
    """Train one network, write it to `path`.safetensors, and return the arrays of the run.

    They are the probabilities of the validation part and of each test set (by the names of the parts), those of the
    simulation-only network if there is one, and the labels and acquisitions that `run_metrics` needs.
    """
    train, validation = parts["train"], parts["validation"]
    both = join(train, validation)
    data = FoldData(both, np.arange(len(both)) >= len(train), 0)
    weights = initial.state(0) if initial else None
    result = train_fold(FoldTask(data, recipe, processor, path.with_suffix(".checkpoint"), seed, weights))
    assert result is not None  # there is no time limit
    state = FoldState.begin(recipe, seed, processor)
    state.networks.ema_network.load_state_dict(result.weights)
    save_file(result.weights, path.with_suffix(".safetensors"))
    found: dict[str, NDArray[Any]] = {
        "validation": result.probabilities,
        "validation_labels": validation.labels,
        "validation_targets": validation.targets(recipe.training.proxy_labels),
        "target_prevalence": train.targets(recipe.training.proxy_labels).mean(0),
        "train_labels": train.labels,
        "train_acquisitions": train.acquisitions,
        "train_sources": np.unique(train.sources),
    }
    tests = test_sets(parts)
    for name in tests:
        part = parts[name]
        found[name] = probabilities_of(state, part)
        found |= {f"{name}_labels": part.labels, f"{name}_sources": np.array(part.sources)}
        found[f"{name}_acquisitions"] = part.acquisitions
    if initial and initial.simulation_network:
        simulation_weights, metadata = initial.simulation_network
        state.networks.ema_network.load_state_dict(simulation_weights)
        found |= {f"{name}_simulation": probabilities_of(state, parts[name]) for name in tests}
        found["simulation_prevalence"] = np.array(metadata["target_prevalence"])
    return found


def probabilities_of(state: FoldState, part: Dataset) -> NDArray[np.float32]:
    """Return the probabilities of a part's recordings, (recordings, 24)."""
    return predict(state, Examples.of(part, state.processor.device), part.lengths, np.arange(len(part)))


def join(*parts: Dataset) -> Dataset:
    """Join parts of one prepared data set."""
    rows = {name: np.concatenate([getattr(part, name) for part in parts]) for name in Dataset.ROWS}
    lists = {name: tuple(chain(*(getattr(part, name) for part in parts))) for name in ("names", "sources", "groups")}
    return dataclasses.replace(parts[0], **rows, **lists)


def train(arguments: argparse.Namespace) -> None:
    """Train every requested run that has no results yet. Raises ValueError for an impossible split, before training."""
    missing = {run: path for run, path in requested(arguments).items() if not path.exists()}
    if not missing:
        return
    index, processor = read_index(arguments.index), choose_processor(threads=arguments.threads)
    check_splits(missing, index, arguments)
    for (name, split, seed), path in missing.items():
        log.info("%s, %s, seed %d", name, split, seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        recipe = VARIANTS[name.removesuffix("+init")]
        if arguments.epochs is not None:
            recipe = changed(recipe, training={"epochs": arguments.epochs})
        initial = initial_weights(name, recipe, split, seed, arguments.results, processor)
        found = run(recipe, prepared(recipe, split, index, arguments), seed, path, processor, initial)
        temporary = path.with_suffix(".partial.npz")
        np.savez(temporary, epochs=recipe.training.epochs, **found)
        temporary.replace(path)
        for checkpoint in path.parent.glob(f"{seed}.checkpoint*"):
            checkpoint.unlink()


def requested(arguments: argparse.Namespace) -> dict[Key, Path]:
    """Return the results file of each requested run."""
    lists = arguments.recipes.split(","), arguments.splits.split(","), map(int, arguments.seeds.split(","))
    return {
        (name, split, seed): arguments.results / name / split.replace(":", "-") / f"{seed}.npz"
        for name, split, seed in product(*lists)
    }


def check_splits(runs: Collection[Key], index: Mapping[str, Mapping[str, str]], arguments: argparse.Namespace) -> None:
    """Raise ValueError if the recordings do not allow a split of the runs."""
    splits = dict.fromkeys(split for _, split, _ in runs)
    if not index and (others := [split for split in splits if not split.startswith(SOURCE)]):
        raise ValueError(f"an INDEX.csv is needed for {', '.join(others)}; only source:PREFIX does without")
    name = next(name for name, _, _ in runs)
    data = prepared_data(VARIANTS[name.removesuffix("+init")], arguments)
    for split in splits:
        masks_of(split, data, index)


def initial_weights(
    name: str, recipe: Recipe, split: str, seed: int, results: Path, processor: Processor
) -> InitialWeights | None:
    """Return the initial weights of a run; None: random.

    With `+init` they are the network of the run on the other device families. Otherwise, if the recipe wants it, they
    are trained on simulated ECGs as those of `robust` are, once for all splits, seeds and recipes with equal signals.
    """
    if name.endswith("+init"):
        folder = results / name.removesuffix("+init") / f"device-{split.split(':')[1]}"
        return InitialWeights((load_file(folder / f"{seed}.safetensors"),), frozenset(), "")
    if not recipe.training.simulated:
        return None
    work = results / "initial" / f"{recipe.training.simulated}-{signal_name(recipe.signal)}"
    work.mkdir(parents=True, exist_ok=True)
    schedule = {name: getattr(ROBUST.training, name) for name in SCHEDULE}
    usual = changed(recipe, training=schedule, augmentation=dataclasses.asdict(ROBUST.augmentation))
    pretrained = pretrain(usual, work / "pretraining", work, processor, 1, math.inf)
    assert pretrained is not None  # there is no time limit
    return InitialWeights((pretrained[0],), frozenset(), "", pretrained)


def prepared(
    recipe: Recipe, split: str, index: Mapping[str, Mapping[str, str]], arguments: argparse.Namespace
) -> dict[str, Dataset]:
    """Prepare the parts of a split for a recipe; the external test set belongs to split `in-distribution`."""
    data = prepared_data(recipe, arguments)
    parts = {name: data.subset(mask) for name, mask in masks_of(split, data, index).items()}
    if split == "in-distribution" and arguments.external:
        work = arguments.results / "prepared" / signal_name(recipe.signal)
        parts["test_external"] = prepare_dataset(arguments.external, work / "external", recipe.signal, 1)
    return parts


def prepared_data(recipe: Recipe, arguments: argparse.Namespace) -> Dataset:
    """Prepare all recordings for a recipe, once."""
    work = arguments.results / "prepared" / signal_name(recipe.signal)
    return prepare_dataset(arguments.data, work / "in-distribution", recipe.signal, 1)


def masks_of(split: str, data: Dataset, index: Mapping[str, Mapping[str, str]]) -> dict[str, NDArray[np.bool_]]:
    """Return the recordings of the parts of a split, (n,) each. Raises ValueError for an impossible one."""
    if split.startswith(SOURCE):
        return source_masks(split.removeprefix(SOURCE), data)
    return masks(split, data.names, index)


def signal_name(recipe: SignalRecipe) -> str:
    """Return a folder name that is equal for recipes with equal prepared signals."""
    parts = recipe.sampling_frequency, recipe.unit, recipe.resampling, recipe.band is not None, recipe.scale
    return "-".join(map(str, parts))


# --- the table


def results(folder: Path) -> Iterator[tuple[str, str, int, dict[str, NDArray[Any]]]]:
    """Yield recipe, split, seed and arrays of every finished run."""
    for path in sorted(folder.glob("*/*/*.npz")):
        if ".partial" not in path.name:
            with np.load(path, allow_pickle=False) as stored:
                yield path.parts[-3], path.parts[-2], int(path.stem), dict(stored)


def label_rule(name: str) -> str:
    """Return the recipe's own label rule, a key of `run_metrics.answers_of`."""
    decision = VARIANTS[name.removesuffix("+init")].decision
    reward = "reward simulation" if decision.simulation_network else "reward shifted"
    return {"search": "search", "reward": reward}[decision.method]


Runs = dict[Key, list[dict[str, NDArray[Any]]]]


def grouped(folder: Path) -> Runs:
    """Return all finished runs, those of the crossed folds together."""
    runs: Runs = {}
    for name, split, seed, found in results(folder):
        runs.setdefault((name, re.sub("^crossed-.*", "crossed", split), seed), []).append(found)
    return runs


def table(arguments: argparse.Namespace) -> None:
    """Print the tables of the finished runs: that of the left-out sources, and that of all other splits."""
    runs = grouped(arguments.results)
    order = {name: place for place, name in enumerate(VARIANTS)}
    keys = sorted(runs, key=lambda key: (key[1], order.get(key[0], 99), key[2]))
    sources = [key for key in keys if key[1].startswith("source-")]
    others = [key for key in keys if key not in sources]
    if others or not sources:
        split_table(runs, others, arguments)
    if sources:
        source_table(runs, sources, arguments)


def split_table(runs: Runs, keys: Sequence[Key], arguments: argparse.Namespace) -> None:
    """Print one line for each run and test set, with intervals and differences to another recipe.

    Each recipe has its own label rule. The crossed folds of a recipe share one line.
    """
    print("recipe | test | seed | n | " + " | ".join(FIGURES))
    for name, split, seed in keys:
        own, other = runs[name, split, seed], runs.get((arguments.against, split, seed))
        reference = (other, label_rule(arguments.against)) if other and len(other) == len(own) else None
        for test in test_sets(own[0]):
            figures = figures_of(own, test, label_rule(name), arguments.prevalence_shift, reference)
            count = sum(len(found[test]) for found in own)
            cells = [name, test_name(split, test), str(seed), str(count), *(figures[key] for key in FIGURES)]
            print(" | ".join(cells))


def source_table(runs: Runs, keys: Sequence[Key], arguments: argparse.Namespace) -> None:
    """Print one line for each left-out source and recipe, and the mean of the sources."""
    results = {
        (name, split.removeprefix("source-"), seed): Result.of(run, label_rule(name), arguments.prevalence_shift)
        for name, split, seed in keys
        for run in runs[name, split, seed]
    }
    for cells in (COLUMNS, *table_rows(results, arguments.against)):
        print(" | ".join(cells))


def test_sets(found: Mapping[str, object]) -> list[str]:
    """Return the names of the test sets of a split or run."""
    return [key for key in ("test", "test_external") if key in found]


def test_name(split: str, test: str) -> str:
    """Return the name of a test set in table and picture."""
    return split if test == "test" else "external"


def train_and_tabulate(arguments: argparse.Namespace) -> None:
    """Train what has no results yet, then print the tables."""
    train(arguments)
    table(arguments)


def command_line() -> argparse.ArgumentParser:
    """Return the parser of the commands `train`, `table`, and `all`, which does both."""
    results, training, showing = (argparse.ArgumentParser(add_help=False) for _ in range(3))
    results.add_argument("results", type=Path, help="folder of the runs")
    add = training.add_argument
    add("data", type=Path, help="folder of recordings")
    add("index", type=Path, nargs="?", help="their fold, patient and device; only source:PREFIX does without")
    add("--external", type=Path, help="recordings of other hospitals, a test set of split in-distribution")
    add("--recipes", default="paper,robust", help=f"of {', '.join(VARIANTS)}; or one with +init")
    add("--splits", default="in-distribution")
    add("--seeds", default="2020")
    add("--epochs", type=int, help="instead of the recipes' own")
    add("--threads", type=int, default=NetworkOptions().threads, help="of the CPU; default %(default)s")
    add = showing.add_argument
    add("--against", default="paper", choices=VARIANTS, help="default %(default)s")
    add("--prevalence-shift", type=float, default=ROBUST.decision.prevalence_shift, help="see DecisionRecipe")
    parser = argparse.ArgumentParser("studies.study", description="Compares recipes on splits.", allow_abbrev=False)
    commands = parser.add_subparsers(required=True)
    for name, do, parents, about in (
        ("train", train, [training], "train the runs that have no results yet"),
        ("table", table, [showing], "print the table of the finished runs"),
        ("all", train_and_tabulate, [training, showing], "do both; the default"),
    ):
        commands.add_parser(name, parents=[results, *parents], help=about, allow_abbrev=False).set_defaults(do=do)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    given = list(sys.argv[1:] if argv is None else argv)
    if given and given[0] not in ("train", "table", "all", "-h", "--help"):
        given.insert(0, "all")
    arguments = command_line().parse_args(given)
    log_to_stdout()
    tune_malloc()
    arguments.do(arguments)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ValueError, OSError) as error:
        sys.exit(f"studies.study: {error}")
