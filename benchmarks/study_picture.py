"""The study's table as a picture: python -m benchmarks.study_picture RESULTS docs/pictures/study.png

For each test set a panel, for each recipe a point with its bootstrap 95 % interval, by the labels that the recipe
itself decides on; beside them what knowing nothing scores, and thresholds fitted on the test set itself.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from benchmarks.judge import together
from benchmarks.pictures import small
from benchmarks.study import VARIANTS, Runs, grouped, test_sets, way_of
from leadwise.files import whole_file
from leadwise.recipes import ROBUST
from leadwise.report.paper import BLUE, GREY, ORANGE, figure_bytes, own_settings
from leadwise.report.tally import Rewards, bootstrap_interval, rewards_of

COLUMNS = 4
TITLES = {
    "home": "home: fold 8",
    "home away": "away: six other sources",
    "crossed": "home, each fold once",
    "third": "home, a third of the training data",
}


def panels(runs: Runs, seed: int) -> dict[str, dict[str, tuple[Rewards, Rewards, Rewards]]]:
    """By test set and recipe: what its answers earn, those of knowing nothing, and an oracle's."""
    found: dict[str, dict[str, tuple[Rewards, Rewards, Rewards]]] = {}
    order = list(VARIANTS)
    wanted = (name for name in runs if name[2] == seed and name[0] in order and not name[1].startswith("adapt"))
    names = sorted(wanted, key=lambda name: order.index(name[0]))
    for name, split, _ in names:
        mine = runs[name, split, seed]
        for test in test_sets(mine[0]):
            title = split + test.removeprefix("test").replace("_", " ")
            labels, answers = together(mine, test, ROBUST.decision.general)
            own, nothing, oracle = (rewards_of(labels, answers[way]) for way in (way_of(name), "nothing", "oracle"))
            found.setdefault(title, {})[name] = (own, nothing, oracle)
    return {title: found[title] for title in sorted(found, key=lambda title: (title not in TITLES, title))}


def draw(found: dict[str, dict[str, tuple[Rewards, Rewards, Rewards]]]) -> Figure:
    """The panels side by side, at most COLUMNS in a row, recipes from top to bottom."""
    recipes = [name for name in VARIANTS if any(name in panel for panel in found.values())]
    columns, rows = min(len(found), COLUMNS), -(-len(found) // COLUMNS)
    with own_settings():
        figure = Figure(figsize=(1.6 + 2.6 * columns, 0.5 + rows * (0.8 + 0.28 * len(recipes))), layout="constrained")
        for place, (title, panel) in enumerate(found.items()):
            axes = figure.add_subplot(rows, columns, place + 1)
            for name, (mine, nothing, oracle) in panel.items():
                row = recipes.index(name)
                axes.plot(bootstrap_interval(mine), [row, row], color=BLUE, linewidth=2)
                dot = axes.plot([score(mine)], [row], "o", color=BLUE)
                square = axes.plot([score(oracle)], [row], "s", color=ORANGE, markerfacecolor="none", markersize=5)
                line = axes.axvline(score(nothing), color=GREY, linestyle="dotted", linewidth=1)
                axes.annotate(f"{score(mine):.3f}", (score(mine), row - 0.18), ha="center", va="bottom", fontsize=7)
            axes.set_title(TITLES.get(title, title.replace("-", " ", 1)), fontsize=9)
            axes.set_yticks(range(len(recipes)), recipes if place % columns == 0 else [""] * len(recipes))
            axes.set_ylim(len(recipes) - 0.5, -0.7)
            axes.set_xlim(-0.1, 0.75)
            axes.set_xlabel("challenge metric", fontsize=8)
            axes.grid(axis="x", alpha=0.25)
        kinds = ("its own labels, 95 % interval", "thresholds fitted on the test itself", "knowing nothing")
        figure.legend([dot[0], square[0], line], kinds, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return figure


def score(rewards: Rewards) -> float:
    """The challenge metric."""
    return float(1 - np.sum(rewards.lost))


def main(results: Path, target: Path, seed: int = 2020) -> None:
    """Writes the picture."""
    found = panels(grouped(results), seed)
    if not found:
        sys.exit(f"benchmarks.study_picture: {results} has no runs of seed {seed}")
    content = small(figure_bytes(draw(found), "png", 110))
    with whole_file(target) as handle:
        handle.write(content)
    print(f"{target}: {len(content)} bytes")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m benchmarks.study_picture RESULTS PICTURE.png")
    main(*map(Path, sys.argv[1:]))
