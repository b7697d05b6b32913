"""Draw the charts of the reports as SVG elements that take the page's text colour, for light and dark pages.

`name` keeps the ids of a chart apart from those of others on the page, `alt` is its text alternative. The colours are
Okabe and Ito's and cividis, which are safe for colour-blind readers.
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

INK = "#010203"  # placeholder for the page's text colour
SHADES = ListedColormap(colormaps["cividis"](np.linspace(0.3, 1, 256)))  # its dark end would be lost on a dark page
# Okabe and Ito's colours that are visible on white and on black, each with its own line style
COLOURS = (BLUE, ORANGE, "#009e73", "#cc79a7", "#d55e00")
LINES = ("solid", "dashed", "dashdot", "dotted", (0, (5, 1, 1, 1, 1, 1)))
Floats = NDArray[np.float64]


class Bar(NamedTuple):
    """A score, with or without its interval."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    published: bool = False


@own_settings()
def intervals(bars: Sequence[Bar], name: str, alt: str, maximum: float = 1.0) -> str:
    """Draw scores up to `maximum` as points with their intervals; published ones as hollow squares."""
    figure, axes = _rows([bar.name for bar in bars], 0.5, 0.27)
    for row, bar in enumerate(bars):
        if bar.published:
            axes.plot([bar.value], [row], "s", color=ORANGE, markerfacecolor="none")
        else:
            axes.plot([bar.value], [row], "o", color=BLUE)
        if bar.low is not None and bar.high is not None:
            axes.plot([bar.low, bar.high], [row, row], color=BLUE, linewidth=2)
        # at the right edge, so that the numbers of all rows form a column
        axes.annotate(f"{bar.value:.3f}", (1.01, row), xycoords=("axes fraction", "data"), va="center", color=INK)
    # scores below 0 exist: labels may be worse than sinus rhythm for all
    axes.set_xlim(min(0.0, *(bar.value if bar.low is None else bar.low for bar in bars)), maximum)
    return _svg(figure, name, alt)


@own_settings()
def bars(names: Sequence[str], values: Floats, unit: str, name: str, alt: str) -> str:
    """Draw one bar for each name, in the given order."""
    figure, axes = _rows(names, 0.6, 0.2)
    axes.barh(range(len(names)), values, color=BLUE)
    axes.set_xlabel(unit)
    axes.axvline(0, color=INK, linewidth=0.6)
    return _svg(figure, name, alt)


@own_settings()
def pairs(names: Sequence[str], first: Floats, second: Floats, legend: tuple[str, str], name: str, alt: str) -> str:
    """Draw two numbers of each class on one line, as a filled circle and a hollow square."""
    figure, axes = _rows(names, 0.9, 0.2)
    rows = np.arange(len(names))
    axes.hlines(rows, first, second, color=INK, alpha=0.3, linewidth=1)
    axes.plot(first, rows, "o", color=BLUE, label=legend[0])
    axes.plot(second, rows, "s", color=ORANGE, markerfacecolor="none", label=legend[1])
    figure.legend(loc="outside upper right", ncols=2, frameon=False, labelcolor=INK)
    return _svg(figure, name, alt)


def _rows(names: Sequence[str], margin: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure with one row for each name, the first on top; `margin` and the `height` of a row in inches."""
    figure = Figure(figsize=(7.2, margin + height * len(names)), layout="constrained")
    axes = figure.add_subplot()
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(max(len(names), 1) - 0.5, -0.5)
    axes.grid(axis="x", alpha=0.25, color=INK)
    return figure, axes


@own_settings()
def matrix(values: Floats, names: Sequence[str], label: str, name: str, alt: str, counts: bool = False) -> str:
    """Draw a matrix of missed labels (rows) and wrong answers (columns) as shades; no cell for values up to 0."""
    figure = Figure(figsize=(7.6, 6.8), layout="constrained")
    axes = figure.add_subplot()
    # counts span three decades: a linear scale would show the last one only
    largest = float(values.max(initial=0))
    norm = LogNorm(1, max(largest, 2)) if counts else Normalize(0, largest or 1.0)
    _shades(figure, axes, np.where(values > 0, values, np.nan), norm, names, names, label=label, shrink=0.7)
    axes.set_xlabel("predicted, not in the labels")
    axes.set_ylabel("in the labels, missed")
    axes.set_aspect("equal")
    return _svg(figure, name, alt)


@own_settings()
def heat(
    panels: dict[str, Floats], rows: Sequence[str], columns: Sequence[str], size: float, name: str, alt: str
) -> str:
    """Draw tables (rows, columns) by title as shades, one below the other, each with its own scale from 0.

    NaN has no cell; values below 0 have the shade of 0. `size` is a row's height in inches.
    """
    figure = Figure(figsize=(7.6, (0.9 + size * len(rows)) * len(panels)), layout="constrained")
    grid = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for axes, (label, values) in zip(grid, panels.items(), strict=True):
        norm = Normalize(0, float(np.nanmax(values, initial=0)) or 1.0)
        _shades(figure, axes, values, norm, rows, columns, label=label)
    return _svg(figure, name, alt)


def _shades(
    figure: Figure, axes: Axes, values: Floats, norm: Normalize, rows: Sequence[str], columns: Sequence[str], **bar: Any
) -> None:
    """Draw a table with its names and a colour bar; `bar` goes to matplotlib's colorbar."""
    mesh = axes.pcolormesh(np.ma.masked_invalid(values), norm=norm, cmap=SHADES, edgecolors="none")
    axes.set_xticks(np.arange(len(columns)) + 0.5, columns, rotation=90)
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows)
    axes.invert_yaxis()
    figure.colorbar(mesh, ax=axes, **bar).outline.set_visible(False)


@own_settings()
def reliability(calibration: Calibration, names: Sequence[str], name: str, alt: str) -> str:
    """Draw for each class the share of recordings that have it against the score, with the diagonal."""
    figure, grid = _panels(names, "score", "share of recordings that have the diagnosis")
    for k, axes in enumerate(grid):
        axes.plot([0, 1], [0, 1], color=INK, alpha=0.4, linewidth=0.8, linestyle="--")
        filled = calibration.counts[k] > 0
        sizes = 6 + 10 * np.log10(calibration.counts[k][filled])  # points of few recordings say little and are small
        axes.plot(calibration.mean_score[k][filled], calibration.frequency[k][filled], color=BLUE, linewidth=1)
        axes.scatter(calibration.mean_score[k][filled], calibration.frequency[k][filled], s=sizes, color=BLUE)
        axes.set(xlim=(-0.05, 1.05), ylim=(-0.05, 1.05), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    return _svg(figure, name, alt)


@own_settings()
def threshold_panels(curves: Floats, thresholds: Floats, names: Sequence[str], name: str, alt: str) -> str:
    """Draw for each class the score by its threshold, a line for each fold, the chosen threshold as a hollow square.

    Curves are (folds, 24, steps + 1), thresholds (folds, 24). The axis shows square roots, since the thresholds of rare
    classes are small.
    """
    figure, grid = _panels(names, "threshold of this class", "challenge metric, relative to the chosen threshold")
    places = np.linspace(0, 1, curves.shape[2])
    for k, axes in enumerate(grid):
        for fold, (curve, threshold) in enumerate(zip(curves[:, k], thresholds[:, k], strict=True)):
            colour = COLOURS[fold % len(COLOURS)]
            # relative to the chosen threshold, since the folds' scores differ by more than their thresholds do
            axes.plot(places**0.5, curve - np.interp(threshold, places, curve), color=colour, linewidth=1)
            axes.plot(threshold**0.5, 0, "s", color=colour, markerfacecolor="none")
        axes.set_xticks(np.sqrt([0, 0.1, 0.5, 1]), ["0", ".1", ".5", "1"])
        axes.set(xlim=(-0.03, 1.03), ylim=(-0.06, 0.01), yticks=(-0.05, 0))
    return _svg(figure, name, alt)


def _panels(names: Sequence[str], xlabel: str, ylabel: str) -> tuple[Figure, Sequence[Axes]]:
    figure = Figure(figsize=(7.6, 9.6), layout="constrained")
    grid = figure.subplots(6, 4, sharex=True, sharey=True).ravel()
    for axes, name in zip(grid, names, strict=True):
        axes.set_title(name, fontsize=9, color=INK)
    figure.supxlabel(xlabel, color=INK, fontsize=10)
    figure.supylabel(ylabel, color=INK, fontsize=10)
    return figure, grid


@own_settings()
def learning(folds: Sequence[Sequence[dict[str, float]]], kept: Sequence[int], name: str, alt: str) -> str:
    """Draw loss, validation score and learning rate of each fold by epoch; hollow squares mark the kept epochs."""
    panels = {"loss": "loss", "validation_score": "validation score", "learning_rate": "learning rate"}
    figure = Figure(figsize=(7.2, 6.0), layout="constrained")
    grid = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 1.5))
    for axes, (key, label) in zip(grid, panels.items(), strict=True):
        for fold, epochs in enumerate(folds):
            values, style = [epoch[key] for epoch in epochs], _style(fold)
            steps = "steps-mid" if key == "learning_rate" else "default"
            axes.plot(range(1, len(values) + 1), values, label=f"fold {fold}", drawstyle=steps, **style)
            axes.plot(kept[fold], values[kept[fold] - 1], "s", color=style["color"], markerfacecolor="none")
        axes.set_ylabel(label)
        axes.grid(alpha=0.25, color=INK)
    grid[2].set_yscale("log")
    grid[2].set_xlabel("epoch")
    grid[2].xaxis.get_major_locator().set_params(integer=True)
    handles = grid[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper right", ncols=5, frameon=False, labelcolor=INK)
    return _svg(figure, name, alt)


@own_settings()
def ages(edges: Sequence[float], groups: dict[str, Floats], name: str, alt: str) -> str:
    """Draw histograms of age, one outline for each group; `edges` are those of the bins in years."""
    figure = Figure(figsize=(7.2, 2.8), layout="constrained")
    axes = figure.add_subplot()
    for place, (group, counts) in enumerate(groups.items()):
        axes.stairs(counts, edges, label=group, linewidth=2, **_style(place))
    axes.set(xlabel="age, years", ylabel="recordings")
    axes.grid(alpha=0.25, color=INK)
    figure.legend(loc="outside upper right", ncols=3, frameon=False, labelcolor=INK)
    return _svg(figure, name, alt)


def _style(line: int) -> dict[str, Any]:
    return {"color": COLOURS[line % len(COLOURS)], "linestyle": LINES[line % len(LINES)]}


def _svg(figure: Figure, name: str, alt: str) -> str:
    figure.patch.set_visible(False)
    for axes in figure.axes:
        axes.patch.set_visible(False)
        axes.tick_params(which="both", colors=INK, labelsize=8)
        axes.xaxis.label.set_color(INK)
        axes.yaxis.label.set_color(INK)
        for side, spine in axes.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(INK)
    text = figure_bytes(figure, "svg").decode()
    text = text[text.index("<svg") :].replace(INK, "currentColor")  # without the XML declaration
    # matplotlib's ids are the same in each chart: those of a second one on the page would point into the first
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(url\(|href="|clip-path="url\()#', rf"\1#{name}-", text)
    for size in ("height", "width"):  # without a size of its own, the chart takes the width of the page
        text = re.sub(rf'(<svg[^>]*?) {size}="[^"]*"', r"\1", text, count=1)
    return text.replace("<svg", f'<svg role="img" aria-label="{escape(alt)}"', 1)
