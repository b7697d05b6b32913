"""Draw the study's table: python -m studies.study_picture RESULTS docs/pictures/study.png

One panel for each test set, one point for each recipe with its bootstrap 95 % interval, by the recipe's own label rule;
beside them the constant baseline, and thresholds that were fitted on the test set itself.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from leadwise.recipes import ROBUST
from leadwise.report.sheet.paper import BLUE, GREY, ORANGE, figure_bytes, own_settings
from leadwise.report.statistics import Rewards, bootstrap_interval, rewards_of
from leadwise.util.files import atomic_write
from studies.pictures import reduce_colours
from studies.run_metrics import pooled
from studies.study import ABLATIONS, VARIANTS, Runs, grouped, label_rule, test_name, test_sets

SHOWN = [name for name in VARIANTS if name not in ABLATIONS]
TITLES = {
    "in-distribution": "in-distribution: fold 8",
    "external": "six external sources",
    "crossed": "in-distribution, each fold once",
    "third": "in-distribution, a third of the data",
}
Panel = dict[str, tuple[Rewards, Rewards, Rewards]]


def panels(runs: Runs, seed: int) -> dict[str, Panel]:
    """Return by test set and recipe the rewards of its answers, of the constant baseline and of the oracle."""
    found: dict[str, Panel] = {}
    wanted = (key for key in runs if key[2] == seed and key[0] in SHOWN and not key[1].startswith("adapt"))
    for name, split, _ in sorted(wanted, key=lambda key: SHOWN.index(key[0])):
        results = runs[name, split, seed]
        for test in test_sets(results[0]):
            labels, answers = pooled(results, test, ROBUST.decision.prevalence_shift)
            own, constant, oracle = (
                rewards_of(labels, answers[rule]) for rule in (label_rule(name), "constant", "oracle")
            )
            found.setdefault(test_name(split, test), {})[name] = (own, constant, oracle)
    return {title: found[title] for title in sorted(found, key=lambda title: (title not in TITLES, title))}


def draw(found: dict[str, Panel]) -> Figure:
    """Draw the panels: those with most recipes in the first row, the others below; recipes from top to bottom."""
    most = max(map(len, found.values()))
    rows = [[title for title in found if (len(found[title]) == most) == first] for first in (True, False)]
    rows = [row for row in rows if row]
    heights = [0.7 + 0.28 * max(len(found[title]) for title in row) for row in rows]
    with own_settings():
        width = 1.6 + 2.4 * max(map(len, rows))
        figure = Figure(figsize=(width, 0.4 + sum(heights)), layout="constrained")
        parts = figure.subfigures(len(rows), 1, height_ratios=heights, squeeze=False)[:, 0]
        for part, row in zip(parts, rows, strict=True):
            names = [name for name in SHOWN if any(name in found[title] for title in row)]
            for place, title in enumerate(row):
                axes = part.add_subplot(1, len(row), place + 1)
                kinds = draw_panel(axes, found[title], names)
                axes.set_title(TITLES.get(title, title.replace("-", " ", 1)), fontsize=9)
                axes.set_yticks(range(len(names)), names if place == 0 else [""] * len(names))
        labels = ("score and 95 % interval", "thresholds fitted on the test set", "constant baseline")
        figure.legend(kinds, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return figure


def draw_panel(axes: Axes, panel: Panel, names: Sequence[str]) -> list[Artist]:
    """Draw one test set, one row for each recipe; return one artist of each kind, for the legend."""
    for name, (own, constant, oracle) in panel.items():
        row = names.index(name)
        axes.plot(bootstrap_interval(own), [row, row], color=BLUE, linewidth=2)
        dot = axes.plot([score(own)], [row], "o", color=BLUE)[0]
        square = axes.plot([score(oracle)], [row], "s", color=ORANGE, markerfacecolor="none", markersize=5)[0]
        line = axes.axvline(score(constant), color=GREY, linestyle="dotted", linewidth=1)
        axes.annotate(f"{score(own):.3f}", (score(own), row - 0.18), ha="center", va="bottom", fontsize=7)
    axes.set_ylim(len(names) - 0.5, -0.7)
    axes.set_xlim(-0.1, 0.75)
    axes.set_xlabel("challenge metric", fontsize=8)
    axes.grid(axis="x", alpha=0.25)
    return [dot, square, line]


def score(rewards: Rewards) -> float:
    """Return the challenge metric."""
    return float(1 - np.sum(rewards.lost))


def main(results: Path, target: Path, seed: int = 2020) -> None:
    """Write the picture."""
    found = panels(grouped(results), seed)
    if not found:
        sys.exit(f"studies.study_picture: {results} has no runs of seed {seed}")
    content = reduce_colours(figure_bytes(draw(found), "png", 110))
    with atomic_write(target) as handle:
        handle.write(content)
    print(f"{target}: {len(content)} bytes")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m studies.study_picture RESULTS PICTURE.png")
    main(*map(Path, sys.argv[1:]))
