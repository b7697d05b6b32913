"""Leave one source out: train on the other sources of a folder, test on the whole of this one, compare recipes.

`studies.study` trains the runs, with splits `source:A`, and prints the table. No patient is in two sources, so that
none is in training and test part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leadwise.challenge.metric import areas_under_curves, challenge_metric
from leadwise.data.dataset import Dataset
from leadwise.data.folds import assign_folds
from leadwise.report.statistics import REPLICATES, SEED, bootstrap_scores, rewards_of
from studies.run_metrics import pooled

FOLDS = 10  # of the training sources, one of which is the validation part
COLUMNS = (
    "source", "recipe", "seed", "n", "AUROC", "challenge metric", "interval", "constant baseline", "difference",
    "interval of the difference", "labels a recording (true)",
)  # fmt: skip
Key = tuple[str, str, int]  # recipe, source, seed


def source_masks(source: str, data: Dataset) -> dict[str, NDArray[np.bool_]]:
    """Return the recordings of the parts "train", "validation" and "test", (n,) each; the test part is the source.

    The validation part is a stratified fold of the others. The recordings of a patient of INCART are in one part;
    other sources do not identify patients, so that one of PTB may be in training and validation part. Raises ValueError
    if the source is the only one or none of the data, or if too few recordings are left.
    """
    sources = np.array(data.sources)
    test = sources == source
    if not test.any() or test.all():
        found = ", ".join(np.unique(sources))
        raise ValueError(f"source:{source} is no split of these recordings: their sources are {found}")
    validation = np.zeros_like(test)
    validation[~test] = assign_folds(data.subset(~test), FOLDS, SEED) == 0
    return {"train": ~test & ~validation, "validation": validation, "test": test}


@dataclass(frozen=True, eq=False)
class Result:
    """What a run answers for the source that it has not seen, (n, 24) each."""

    labels: NDArray[np.bool_]
    probabilities: NDArray[np.float32]
    answers: NDArray[np.bool_]  # by the recipe's own rule
    constant: NDArray[np.bool_]  # the constant baseline

    @classmethod
    def of(cls, run: Mapping[str, NDArray[Any]], rule: str, prevalence_shift: float) -> Result:
        """Return the answers of a run by a rule, a key of `run_metrics.answers_of`."""
        labels, answers = pooled([run], "test", prevalence_shift)
        return cls(labels, run["test"], answers[rule], answers["constant"])

    @property
    def score(self) -> float:
        """Return the challenge metric."""
        return challenge_metric(self.labels, self.answers)


def table_rows(results: Mapping[Key, Result], against: str) -> list[list[str]]:
    """Return the cells of the lines by `COLUMNS`: one for each source, recipe and seed, then the mean of the sources.

    Each source has the same weight in the mean. The difference is to the recipe `against` on the same sources.
    """
    rows = []
    for key in sorted(results, key=lambda key: key[1]):  # the recipes stay in their order
        recipe, source, seed = key
        count = str(len(results[key].labels))
        rows.append([source, recipe, str(seed), count, *_figures(results, [key], against)])
    for recipe, seed in dict.fromkeys((recipe, seed) for recipe, _, seed in results):
        keys = sorted(key for key in results if key[::2] == (recipe, seed))
        count = f"{len(keys)} source{'s' if len(keys) > 1 else ''}"
        rows.append(["mean", recipe, str(seed), count, *_figures(results, keys, against)])
    return rows


def _figures(results: Mapping[Key, Result], keys: Sequence[Key], against: str) -> list[str]:
    """Return the cells from AUROC on, the means over the runs of one recipe and seed."""
    own = [results[key] for key in keys]
    score, samples, difference = np.mean([each.score for each in own]), _bootstrap(own), ["", ""]
    other = [results[reference] for _, source, seed in keys if (reference := (against, source, seed)) in results]
    if len(other) == len(own) and keys[0][0] != against:
        if not all(np.array_equal(a.labels, b.labels) for a, b in zip(own, other, strict=True)):
            raise ValueError(f"{keys[0][0]} and {against} were tested on different recordings")
        gain = score - np.mean([each.score for each in other])
        difference = [f"{gain:+.3f}", _interval(samples - _bootstrap(other))]
    constant = np.mean([challenge_metric(each.labels, each.constant) for each in own])
    auroc = np.mean([np.nanmean(areas_under_curves(each.labels, each.probabilities)[0]) for each in own])
    answered, true = (np.mean([getattr(each, name).sum(1).mean() for each in own]) for name in ("answers", "labels"))
    return [
        f"{auroc:.3f}", f"{score:.3f}", _interval(samples), f"{constant:.3f}", *difference,
        f"{answered:.2f} ({true:.2f})",
    ]  # fmt: skip


def _bootstrap(results: Sequence[Result]) -> NDArray[np.float64]:
    """Return the mean challenge metric of bootstrap samples, (replicates,), the recordings drawn within each source."""
    rewards = [rewards_of(each.labels, each.answers) for each in results]
    # each source has its own draws, the same for all recipes
    return np.mean([bootstrap_scores(each, REPLICATES, SEED + place) for place, each in enumerate(rewards)], axis=0)


def _interval(samples: NDArray[np.float64]) -> str:
    low, high = np.percentile(samples, [2.5, 97.5])
    return f"{low:.3f} to {high:.3f}"
