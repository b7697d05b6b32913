"""The study's table as a picture: python -m studies.study_picture RESULTS docs/pictures/study.png

For each test set a panel, for each recipe a point with its bootstrap 95 % interval, by the labels that the recipe
itself decides on; beside them what knowing nothing scores, and thresholds fitted on the test set itself.
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
from studies.judge import together
from studies.pictures import small
from studies.study import VARIANTS, WITHOUT, Runs, grouped, test_sets, way_of

SHOWN = [name for name in VARIANTS if name not in WITHOUT]  # what else was tried has tables
TITLES = {
    "home": "home: fold 8",
    "home away": "away: six other sources",
    "crossed": "home, each fold once",
    "third": "home, a third of the data",
}
Panel = dict[str, tuple[Rewards, Rewards, Rewards]]


def panels(runs: Runs, seed: int) -> dict[str, Panel]:
    """By test set and recipe: what its answers earn, those of knowing nothing, and an oracle's."""
    found: dict[str, Panel] = {}
    wanted = (name for name in runs if name[2] == seed and name[0] in SHOWN and not name[1].startswith("adapt"))
    names = sorted(wanted, key=lambda name: SHOWN.index(name[0]))
    for name, split, _ in names:
        mine = runs[name, split, seed]
        for test in test_sets(mine[0]):
            title = split + test.removeprefix("test").replace("_", " ")
            labels, answers = together(mine, test, ROBUST.decision.prevalence_shift)
            own, nothing, oracle = (rewards_of(labels, answers[way]) for way in (way_of(name), "nothing", "oracle"))
            found.setdefault(title, {})[name] = (own, nothing, oracle)
    return {title: found[title] for title in sorted(found, key=lambda title: (title not in TITLES, title))}


def draw(found: dict[str, Panel]) -> Figure:
    """The tests that have the most recipes in the first row, those with fewer below; recipes from top to bottom."""
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
        labels = ("its own labels, 95 % interval", "thresholds fitted on the test itself", "knowing nothing")
        figure.legend(kinds, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return figure


def draw_panel(axes: Axes, panel: Panel, names: Sequence[str]) -> list[Artist]:
    """One test: a row for each recipe; an artist of each kind, for the legend."""
    for name, (mine, nothing, oracle) in panel.items():
        row = names.index(name)
        axes.plot(bootstrap_interval(mine), [row, row], color=BLUE, linewidth=2)
        dot = axes.plot([score(mine)], [row], "o", color=BLUE)[0]
        square = axes.plot([score(oracle)], [row], "s", color=ORANGE, markerfacecolor="none", markersize=5)[0]
        line = axes.axvline(score(nothing), color=GREY, linestyle="dotted", linewidth=1)
        axes.annotate(f"{score(mine):.3f}", (score(mine), row - 0.18), ha="center", va="bottom", fontsize=7)
    axes.set_ylim(len(names) - 0.5, -0.7)
    axes.set_xlim(-0.1, 0.75)
    axes.set_xlabel("challenge metric", fontsize=8)
    axes.grid(axis="x", alpha=0.25)
    return [dot, square, line]


def score(rewards: Rewards) -> float:
    """The challenge metric."""
    return float(1 - np.sum(rewards.lost))


def main(results: Path, target: Path, seed: int = 2020) -> None:
    """Writes the picture."""
    found = panels(grouped(results), seed)
    if not found:
        sys.exit(f"studies.study_picture: {results} has no runs of seed {seed}")
    content = small(figure_bytes(draw(found), "png", 110))
    with atomic_write(target) as handle:
        handle.write(content)
    print(f"{target}: {len(content)} bytes")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m studies.study_picture RESULTS PICTURE.png")
    main(*map(Path, sys.argv[1:]))
