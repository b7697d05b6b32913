"""The report's pictures, as SVG that takes the page's own text colour: light on dark pages, dark on light ones.

Numbers in, SVG text out; each picture has its text alternative from who asks for it. Colours are Okabe and Ito's and
cividis, which the colour-blind tell apart. Knows no files and no models.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from leadwise.report.sheet.paper import BLUE, ORANGE, figure_bytes, own_settings
from leadwise.report.statistics import Calibration

INK = "#010203"  # stands for the page's colour until the SVG is written
SHADES = ListedColormap(colormaps["cividis"](np.linspace(0.3, 1, 256)))  # its dark end is lost on a dark page
# Okabe and Ito's that are seen on white and on black, each with its own kind of line.
COLOURS = (BLUE, ORANGE, "#009e73", "#cc79a7", "#d55e00")
LINES = ("solid", "dashed", "dashdot", "dotted", (0, (5, 1, 1, 1, 1, 1)))
Floats = NDArray[np.float64]


class Bar(NamedTuple):
    """A figure with its interval, or without one."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    published: bool = False


def intervals(bars: Sequence[Bar], name: str, alternative: str, most: float = 1.0) -> str:
    """Scores as points with their intervals, up to `most`; published ones are hollow squares."""
    with own_settings():
        figure = Figure(figsize=(7.2, 0.5 + 0.27 * len(bars)), layout="constrained")
        axes = figure.add_subplot()
        for row, bar in enumerate(bars):
            if bar.published:
                axes.plot([bar.value], [row], "s", color=ORANGE, markerfacecolor="none")
            else:
                axes.plot([bar.value], [row], "o", color=BLUE)
            if bar.low is not None and bar.high is not None:
                axes.plot([bar.low, bar.high], [row, row], color=BLUE, linewidth=2)
            # at the right edge, where numbers of all rows stand in one column
            axes.annotate(f"{bar.value:.3f}", (1.01, row), xycoords=("axes fraction", "data"), va="center", color=INK)
        axes.set_yticks(range(len(bars)), [bar.name for bar in bars])
        axes.set_ylim(len(bars) - 0.5, -0.5)  # the first one on top
        # scores below 0 exist: an answer may be worse than sinus rhythm for all
        axes.set_xlim(min(0.0, *(bar.value if bar.low is None else bar.low for bar in bars)), most)
        axes.grid(axis="x", alpha=0.25, color=INK)
        return _svg(figure, name, alternative)


def bars(names: Sequence[str], values: Floats, unit: str, name: str, alternative: str) -> str:
    """One bar for each name, in the order given."""
    with own_settings():
        figure = Figure(figsize=(7.2, 0.6 + 0.2 * len(names)), layout="constrained")
        axes = figure.add_subplot()
        axes.barh(range(len(names)), values, color=BLUE)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(max(len(names), 1) - 0.5, -0.5)
        axes.set_xlabel(unit)
        axes.axvline(0, color=INK, linewidth=0.6)
        axes.grid(axis="x", alpha=0.25, color=INK)
        return _svg(figure, name, alternative)


def pairs(
    names: Sequence[str], first: Floats, second: Floats, legend: tuple[str, str], name: str, alternative: str
) -> str:
    """Two figures of each class on one line, a filled circle and a hollow square."""
    with own_settings():
        figure = Figure(figsize=(7.2, 0.9 + 0.2 * len(names)), layout="constrained")
        axes = figure.add_subplot()
        rows = np.arange(len(names))
        axes.hlines(rows, first, second, color=INK, alpha=0.3, linewidth=1)
        axes.plot(first, rows, "o", color=BLUE, label=legend[0])
        axes.plot(second, rows, "s", color=ORANGE, markerfacecolor="none", label=legend[1])
        axes.set_yticks(rows, names)
        axes.set_ylim(max(len(names), 1) - 0.5, -0.5)
        axes.grid(axis="x", alpha=0.25, color=INK)
        figure.legend(loc="outside upper right", ncols=2, frameon=False, labelcolor=INK)
        return _svg(figure, name, alternative)


def matrix(values: Floats, names: Sequence[str], label: str, name: str, alternative: str, counts: bool = False) -> str:
    """A matrix of missed labels (rows) and wrong answers (columns) as shades; no cell where it is 0 or less."""
    with own_settings():
        figure = Figure(figsize=(7.6, 6.8), layout="constrained")
        axes = figure.add_subplot()
        shown = np.where(values > 0, values, np.nan)
        largest = float(np.nanmax(shown)) if (values > 0).any() else 1.0
        # counts span three decades, of which a straight scale would show the last alone
        norm = LogNorm(1, max(largest, 2)) if counts else Normalize(0, largest)
        mesh = axes.pcolormesh(np.ma.masked_invalid(shown), norm=norm, cmap=SHADES, edgecolors="none")
        axes.set_xticks(np.arange(len(names)) + 0.5, names, rotation=90)
        axes.set_yticks(np.arange(len(names)) + 0.5, names)
        axes.invert_yaxis()
        axes.set_xlabel("answered and wrong")
        axes.set_ylabel("there and missed")
        axes.set_aspect("equal")
        bar = figure.colorbar(mesh, ax=axes, label=label, shrink=0.7)
        bar.outline.set_visible(False)
        return _svg(figure, name, alternative, [bar.ax])


def reliability(calibration: Calibration, names: Sequence[str], name: str, alternative: str) -> str:
    """For each class the share of recordings that have it against the score, with the line on which they are equal."""
    with own_settings():
        figure = Figure(figsize=(7.6, 9.6), layout="constrained")
        grid = figure.subplots(6, 4, sharex=True, sharey=True)
        for k, axes in enumerate(grid.ravel()):
            axes.plot([0, 1], [0, 1], color=INK, alpha=0.4, linewidth=0.8, linestyle="--")
            there = calibration.counts[k] > 0
            # a point of few recordings says little, and is small
            sizes = 6 + 10 * np.log10(calibration.counts[k][there])
            axes.plot(calibration.mean_score[k][there], calibration.frequency[k][there], color=BLUE, linewidth=1)
            axes.scatter(calibration.mean_score[k][there], calibration.frequency[k][there], s=sizes, color=BLUE)
            axes.set_title(names[k], fontsize=9, color=INK)
            axes.set(xlim=(-0.05, 1.05), ylim=(-0.05, 1.05), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
        figure.supxlabel("score", color=INK, fontsize=10)
        figure.supylabel("share of recordings that have the diagnosis", color=INK, fontsize=10)
        return _svg(figure, name, alternative)


def learning(folds: Sequence[Sequence[dict[str, float]]], kept: Sequence[int], name: str, alternative: str) -> str:
    """Loss, validation score and rate of each fold by epoch, the epoch kept (1, 2, ...) as a hollow square."""
    panels = {"loss": "loss", "validation_score": "validation score", "learning_rate": "rate"}
    with own_settings():
        figure = Figure(figsize=(7.2, 6.0), layout="constrained")
        grid = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 1.5))
        for axes, (key, label) in zip(grid, panels.items(), strict=True):
            for fold, epochs in enumerate(folds):
                values = [epoch[key] for epoch in epochs]
                look = {"color": COLOURS[fold % len(COLOURS)], "linestyle": LINES[fold % len(LINES)]}
                style = "steps-mid" if key == "learning_rate" else "default"
                axes.plot(range(1, len(values) + 1), values, label=f"fold {fold}", drawstyle=style, **look)
                axes.plot(kept[fold], values[kept[fold] - 1], "s", color=look["color"], markerfacecolor="none")
            axes.set_ylabel(label)
            axes.grid(alpha=0.25, color=INK)
        grid[2].set_yscale("log")
        grid[2].set_xlabel("epoch")
        grid[2].xaxis.get_major_locator().set_params(integer=True)
        figure.legend(
            *grid[0].get_legend_handles_labels(), loc="outside upper right", ncols=5, frameon=False, labelcolor=INK
        )
        return _svg(figure, name, alternative)


def threshold_panels(curves: Floats, thresholds: Floats, names: Sequence[str], name: str, alternative: str) -> str:
    """For each class what a threshold costs, a line for each fold, the threshold taken as a hollow square.

    Curves of the score (folds, 24, steps + 1), thresholds (folds, 24). The axis of thresholds is one of square roots,
    for those of rare classes are small.
    """
    with own_settings():
        figure = Figure(figsize=(7.6, 9.6), layout="constrained")
        grid = figure.subplots(6, 4, sharex=True, sharey=True)
        places = np.linspace(0, 1, curves.shape[2])
        for k, axes in enumerate(grid.ravel()):
            for fold, (curve, threshold) in enumerate(zip(curves[:, k], thresholds[:, k], strict=True)):
                colour = COLOURS[fold % len(COLOURS)]
                taken = float(np.interp(threshold, places, curve))
                # against the threshold taken, since the folds' scores differ by more than their thresholds do
                axes.plot(places**0.5, curve - taken, color=colour, linewidth=1)
                axes.plot(threshold**0.5, 0, "s", color=colour, markerfacecolor="none")
            axes.set_title(names[k], fontsize=9, color=INK)
            axes.set_xticks(np.sqrt([0, 0.1, 0.5, 1]), ["0", ".1", ".5", "1"])
            axes.set(xlim=(-0.03, 1.03), ylim=(-0.06, 0.01), yticks=(-0.05, 0))
        figure.supxlabel("threshold of this class", color=INK, fontsize=10)
        figure.supylabel("challenge metric, against the threshold taken", color=INK, fontsize=10)
        return _svg(figure, name, alternative)


def heat(
    panels: dict[str, Floats], rows: Sequence[str], columns: Sequence[str], size: float, name: str, alternative: str
) -> str:
    """Tables of numbers as shades, one below the other, each with its own scale from 0; no cell where it is NaN.

    `panels` are (rows, columns) by what their numbers mean; what is below 0 has the shade of 0. `size` is a row's
    height in inches.
    """
    with own_settings():
        height = (0.9 + size * len(rows)) * len(panels)
        figure = Figure(figsize=(7.6, height), layout="constrained")
        bars = []
        for axes, (label, values) in zip(
            figure.subplots(len(panels), 1, squeeze=False)[:, 0], panels.items(), strict=True
        ):
            largest = float(np.nanmax(values, initial=0)) or 1.0
            shown = np.ma.masked_invalid(values)
            mesh = axes.pcolormesh(shown, norm=Normalize(0, largest), cmap=SHADES, edgecolors="none")
            axes.set_xticks(np.arange(len(columns)) + 0.5, columns, rotation=90)
            axes.set_yticks(np.arange(len(rows)) + 0.5, rows)
            axes.invert_yaxis()
            bar = figure.colorbar(mesh, ax=axes, label=label)
            bar.outline.set_visible(False)
            bars.append(bar.ax)
        return _svg(figure, name, alternative, bars)


def ages(edges: Sequence[float], groups: dict[str, Floats], name: str, alternative: str) -> str:
    """Recordings by age, one outline for each group; `edges` are those of the bins in years."""
    with own_settings():
        figure = Figure(figsize=(7.2, 2.8), layout="constrained")
        axes = figure.add_subplot()
        for place, (group, counts) in enumerate(groups.items()):
            look: dict[str, Any] = {"color": COLOURS[place], "linestyle": LINES[place]}
            axes.stairs(counts, edges, label=group, linewidth=2, **look)
        axes.set(xlabel="age, years", ylabel="recordings")
        axes.grid(alpha=0.25, color=INK)
        figure.legend(loc="outside upper right", ncols=3, frameon=False, labelcolor=INK)
        return _svg(figure, name, alternative)


def _svg(figure: Figure, name: str, alternative: str, more: Sequence[Axes] = ()) -> str:
    """The figure as an SVG element for a page; `name` keeps its ids apart from those of other pictures."""
    figure.patch.set_visible(False)
    for axes in {*figure.axes, *more}:
        axes.patch.set_visible(False)
        axes.tick_params(colors=INK, labelsize=8)
        axes.xaxis.label.set_color(INK)
        axes.yaxis.label.set_color(INK)
        for side, spine in axes.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(INK)
    text = figure_bytes(figure, "svg").decode()
    # without the XML declaration, which has no place inside a page; the page's own colour, light or dark
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    # matplotlib numbers the ids of each picture from 1, and a page has many: the second would take the first one's
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(url\(|href="|clip-path="url\()#', rf"\1#{name}-", text)
    # without a size of its own the picture takes the width that the page has
    text = re.sub(
        r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1), count=1
    )
    return text.replace("<svg", f'<svg role="img" aria-label="{escape(alternative)}"', 1)
