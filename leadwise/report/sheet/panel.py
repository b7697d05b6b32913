"""Draw the panel below the trace of a sheet: the table of diagnoses, and a map of where the evidence lies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from leadwise.ecg.leads import STANDARD_LEADS
from leadwise.report.sheet.layout import GRID_LEFT, GRID_WIDTH, Finding, Span, Strip
from leadwise.report.sheet.paper import BLACK, BLUE, GREY, ORANGE, PALE, add_box, add_lines, add_text, fitting

TOP, LINE = 57.0, 3.5  # mm: the head's baseline, and from line to line
BLOCK_ROWS = 12  # lines in each of the two blocks
GAP, MAP_WIDTH = 5.0, 44.0
MARK, BAR, NUMBER = 11.0, 13.0, 9.0  # widths of columns
SIZE = 6.2  # points


def draw_findings(page: Axes, findings: Sequence[Finding], beside_map: bool) -> None:
    """Draw the table in two blocks of twelve lines; what is likely or possible is marked in words, not colour alone."""
    width = (GRID_WIDTH - (MAP_WIDTH + GAP if beside_map else 0) - GAP) / 2
    measured = any(finding.sensitivity is not None or finding.ppv is not None for finding in findings)
    for block in range(0, min(len(findings), 2 * BLOCK_ROWS), BLOCK_ROWS):
        left = GRID_LEFT + (width + GAP if block else 0)
        heads = ("", "threshold", "sens.", "PPV")[: 4 if measured else 2]
        ends = [left + width - NUMBER * (len(heads) - 1 - column) for column in range(len(heads))]
        add_text(page, _bar_left(ends), TOP, "probability", 5, color=GREY)
        for end, head in zip(ends, heads, strict=True):
            add_text(page, end, TOP, head, 5, ha="right", color=GREY)
        add_lines(page, [((left, TOP - 1.1), (left + width, TOP - 1.1))], 0.15, GREY)
        for line, finding in enumerate(findings[block : block + BLOCK_ROWS], 1):
            _draw_finding(page, finding, left, ends, TOP - 0.6 - LINE * line)


def _draw_finding(page: Axes, finding: Finding, left: float, ends: Sequence[float], y: float) -> None:
    style: dict[str, Any] = {"color": BLACK if finding.status else GREY}
    style["fontweight"] = "bold" if finding.status == "likely" else "normal"
    bar = _bar_left(ends)
    if finding.status:
        add_text(page, left, y, finding.status, SIZE, **style)
    name = fitting(finding.name, bar - left - MARK - 1.5, SIZE, style["fontweight"])
    add_text(page, left + MARK, y, name, SIZE, **style)
    _draw_bar(page, finding, bar, y)
    numbers = (finding.probability, finding.threshold, finding.sensitivity, finding.ppv)
    for end, number, digits in zip(ends, numbers, (3, 2, 2, 2), strict=False):
        known = number is not None and np.isfinite(number)
        add_text(page, end, y, f"{number:.{digits}f}" if known else "–", SIZE, ha="right", **style)


def _bar_left(ends: Sequence[float]) -> float:
    """Return the left end of the bars: left of the first column of numbers, the probability."""
    return ends[0] - NUMBER - BAR


def _draw_bar(page: Axes, finding: Finding, left: float, y: float) -> None:
    """Draw the probability as a bar from 0 to 1, with a tick at the threshold, if there is one."""
    add_box(page, left, y, BAR, 1.7, facecolor="#eeeeee", linewidth=0)
    probability, threshold = np.nan_to_num((finding.probability, finding.threshold)).clip(0, 1).tolist()
    add_box(page, left, y, BAR * probability, 1.7, facecolor=BLUE if finding.status else PALE, linewidth=0)
    if np.isfinite(finding.threshold):
        x = left + BAR * threshold
        add_lines(page, [((x, y - 0.5), (x, y + 2.2))], 0.25, BLACK, zorder=3)


def shading(span: Span, strongest: float) -> dict[str, Any]:
    """Return the style of a span: blue for, the darker the stronger; hatched orange against."""
    share = abs(span.weight) / strongest
    if span.weight >= 0:
        return {"facecolor": BLUE, "alpha": 0.42 * share, "linewidth": 0}
    return {"facecolor": "none", "edgecolor": ORANGE, "alpha": share, "hatch": "//////", "linewidth": 0}


def strongest_of(spans: Sequence[Span]) -> float:
    """Return the largest weight, for or against, which shading is relative to; 1 without spans."""
    return max((abs(span.weight) for span in spans), default=0.0) or 1.0


def draw_map(page: Axes, strips: Sequence[Strip], spans: Sequence[Span], title: str, seconds: float) -> None:
    """Draw all leads over the whole recording with the spans in them; frames show what is drawn above."""
    left, right = GRID_LEFT + GRID_WIDTH - MAP_WIDTH + 7, GRID_LEFT + GRID_WIDTH
    scale, height = (right - left) / seconds, LINE - 0.5
    strongest = strongest_of(spans)
    add_text(page, left - 7, TOP, fitting(title, MAP_WIDTH, 5), 5, color=GREY)
    for lead, name in enumerate(STANDARD_LEADS):
        y = TOP - 0.6 - LINE * (lead + 1)
        add_text(page, left - 7, y, name, 5, color=GREY)
        add_box(page, left, y - 0.4, right - left, height, facecolor="#f2f2f2", linewidth=0)
        for span in spans:
            if span.lead == lead:
                x, width = left + scale * span.start, scale * (span.end - span.start)
                add_box(page, x, y - 0.4, width, height, **shading(span, strongest))
    for strip in strips:
        y, width = TOP - 1.0 - LINE * (strip.lead + 1), scale * min(strip.seconds, seconds - strip.start)
        frame = {"facecolor": "none", "edgecolor": GREY, "linewidth": 0.5, "zorder": 3}
        add_box(page, left + scale * strip.start, y, width, height, **frame)
    foot = TOP - 1.0 - LINE * len(STANDARD_LEADS) - 2.2
    add_text(page, left, foot, "0", 5, color=GREY)
    if any(span.weight < 0 for span in spans):
        add_text(page, (left + right) / 2, foot, "hatched: against", 5, ha="center", color=GREY)
    add_text(page, right, foot, f"{seconds:.4g} s", 5, ha="right", color=GREY)
