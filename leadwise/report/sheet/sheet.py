"""The standard sheet of one ECG on A4: 25 mm/s, 10 mm/mV, three rows of four leads and a rhythm strip, true to scale.

Below the trace there may be the diagnoses with their probabilities, and where in the recording the evidence lies, which
is shaded on the trace too. Draws what it is given: it scores nothing, reads no files and knows no model.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from leadwise.ecg.heart_rate import heart_rate
from leadwise.ecg.leads import STANDARD_LEADS, Signal
from leadwise.ecg.recording import Recording
from leadwise.report.sheet.layout import (
    GAIN,
    GRID_LEFT,
    GRID_TOP,
    GRID_WIDTH,
    PAGE,
    PIECE,
    SECONDS,
    SPEED,
    TRACE_LEFT,
    Span,
    Strip,
    cut,
    row_lines,
)
from leadwise.report.sheet.panel import Finding, draw_findings, draw_map, shading, strongest_of
from leadwise.report.sheet.paper import (
    BLACK,
    DPI,
    GREY,
    POINTS_PER_MM,
    add_box,
    add_lines,
    add_text,
    fitting,
    new_page,
    own_settings,
    printable,
    save_figure,
)

__all__ = ["Caption", "Finding", "Span", "caption_of", "draw_sheet", "save_sheet"]

BOTTOM, BOTTOM_ABOVE_PANEL = 20.0, 65.0  # mm, of the grid
THIN, THICK = "#f6d9d3", "#e6a99d"  # the usual red, pale enough to be grey in print
PULSE_LEFT = GRID_LEFT + 5  # mm, of the calibration mark: 1 mV for 0.2 s
NOTE_LETTERS, NOTE_LINES = 225, 2
FULL_AGE = 120  # years; PTB-XL writes 300 for over 89


@dataclass(frozen=True)
class Caption:
    """What stands above the trace, and notes for below it."""

    name: str = ""
    age: float | None = None  # years
    sex: Literal["female", "male"] | None = None
    rate: float | None = None  # beats a minute
    notes: tuple[str, ...] = ()

    @property
    def person(self) -> str:
        """Age, sex and heart rate in a line."""
        if self.age is None or self.age < 0:
            age = "age unknown"
        else:
            age = "over 89 years" if self.age > FULL_AGE else f"{self.age:.3g} years"
        rate = "heart rate unclear" if self.rate is None else f"heart rate {self.rate:.0f}/min"
        return f"{age} · {self.sex or 'sex unknown'} · {rate}"


def caption_of(recording: Recording, signal: Signal) -> Caption:
    """The caption of a recording; `signal` is its standard leads in mV, from which the rate comes."""
    header = recording.header
    repairs = dict.fromkeys(repair.name for repair in (*recording.repairs, *signal.repairs))
    notes = (f"put right or doubtful: {', '.join(repairs)}",) if repairs else ()
    rate = heart_rate(signal.values, signal.sampling_frequency)
    return Caption(header.name, header.age, header.sex, rate, notes)


def draw_sheet(
    signal_mV: NDArray[np.floating],
    sampling_frequency: float,
    caption: Caption = Caption(),
    findings: Sequence[Finding] = (),
    spans: Sequence[Span] = (),
    spans_title: str = "shaded: evidence",
    start: float = 0.0,
) -> Figure:
    """The sheet of an ECG, (12, samples) in mV in standard order, sampled at so many Hz; a lead of zeros is missing.

    Ten seconds from `start` (s) on: what is longer is said; in what is shorter the columns begin earlier, so that each
    lead is seen, and the rest stays blank. Each strip has its median on its line; nothing is filtered. `findings` (up
    to 24) come in the order given; `spans` are shaded, and `spans_title` says whose evidence they are. The figure's
    label is its text alternative. Raises ValueError as `layout.cut` does and for spans that cannot be.
    """
    strips = cut(signal_mV, sampling_frequency, start)
    seconds = signal_mV.shape[1] / sampling_frequency
    spans = [_checked(Span(*span), seconds) for span in spans]
    bottom = BOTTOM_ABOVE_PANEL if findings or spans else BOTTOM
    lines = row_lines(strips, bottom)
    with own_settings():
        figure, page = new_page(*PAGE)
        grid = _draw_grid(page, bottom)
        _draw_spans(page, strips, spans, lines, grid)
        for strip in strips:
            _draw_strip(page, strip, lines[strip.row], grid)
        _draw_marks(page, lines, bottom, start)
        _draw_caption(page, caption, sampling_frequency)
        _draw_notes(page, [*_notes(strips, lines, bottom, seconds, sampling_frequency), *caption.notes])
        draw_findings(page, findings, beside_map=bool(spans))
        if spans:
            draw_map(page, strips, spans, spans_title, seconds)
    figure.set_label(_alternative(caption, findings))
    return figure


def save_sheet(path: str | Path, figure: Figure, dpi: float = DPI) -> None:
    """Writes a sheet in true size as PNG, SVG or PDF, by the name's ending; whole or not at all.

    The same sheet gives the same bytes. `dpi` is a PNG's resolution; 254 is ten pixels a millimetre. Raises
    ValueError for other endings, OSError where it cannot be written.
    """
    save_figure(path, figure, dpi)


def _checked(span: Span, seconds: float) -> Span:
    if not (span.lead in range(len(STANDARD_LEADS)) and 0 <= span.start < span.end <= seconds + 1e-6):
        raise ValueError(f"{span} is no part of twelve leads of {seconds:g} s")
    if not math.isfinite(span.weight):
        raise ValueError(f"{span} has a weight that is no number")
    return span


def _alternative(caption: Caption, findings: Sequence[Finding]) -> str:
    """The picture in words, for those who do not see it."""
    present = ", ".join(printable(finding.name, 60) for finding in findings if finding.present)
    diagnoses = f" Diagnoses: {present or 'none'}." if findings else ""
    name = printable(caption.name, 60)
    return f"12-lead ECG{' ' + name if name else ''}, 25 mm/s, 10 mm/mV; {caption.person}.{diagnoses}"


# --------------------------------------------------------------------------------------------------------- paper, trace


def _draw_grid(page: Axes, bottom: float) -> Rectangle:
    """Millimetre paper, each fifth line thicker; returns its frame, beyond which no trace goes."""
    right = GRID_LEFT + GRID_WIDTH
    across = [((x, bottom), (x, GRID_TOP)) for x in np.arange(GRID_LEFT, right + 1).tolist()]
    along = [((GRID_LEFT, y), (right, y)) for y in np.arange(bottom, GRID_TOP + 1).tolist()]
    add_lines(page, across + along, 0.1, THIN, zorder=0.1, gid="grid-1mm")
    add_lines(page, across[::5] + along[::5], 0.2, THICK, zorder=0.2, gid="grid-5mm")
    return add_box(page, GRID_LEFT, bottom, GRID_WIDTH, GRID_TOP - bottom, facecolor="none", linewidth=0)


def _draw_strip(page: Axes, strip: Strip, line: float, grid: Rectangle) -> None:
    """The trace of one strip and the lead's name above its beginning; of a missing lead the name alone."""
    name = STANDARD_LEADS[strip.lead]
    label = f"{name}  from {strip.start:.4g} s" if strip.moved else name
    label = f"{name}  no signal" if strip.missing else label
    above = strip.y[strip.x < strip.left + 2.4 * len(label) + 2].max(initial=5)
    back = {"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 0.8}
    height = min(line + above + 2, GRID_TOP - 4)
    add_text(page, strip.left + 1, height, label, 8, fontweight="bold", bbox=back, zorder=1)
    if strip.missing:
        return
    low, high = (edge - line for edge in (grid.get_y() - 5, GRID_TOP + 5))  # no numbers that a viewer cannot take
    trace = page.plot(strip.x, line + np.clip(strip.y, low, high), color=BLACK, scalex=False, scaley=False)[0]
    trace.set(linewidth=0.25 * POINTS_PER_MM, solid_joinstyle="round", zorder=2, clip_path=grid)
    trace.set_gid("rhythm" if strip.seconds == SECONDS else f"lead-{name}")


def _draw_spans(
    page: Axes, strips: Sequence[Strip], spans: Sequence[Span], lines: Sequence[float], grid: Rectangle
) -> None:
    """Shades what is drawn of each span."""
    strongest = strongest_of(spans)
    for strip in strips:
        for span in spans:
            left, right = strip.place(span.start), strip.place(span.end)
            if span.lead == strip.lead and left < right:
                look = shading(span, strongest) | {"zorder": 0.5, "clip_path": grid, "gid": "evidence"}
                add_box(page, left, lines[strip.row] - 9, right - left, 21, **look)


def _draw_marks(page: Axes, lines: Sequence[float], bottom: float, start: float) -> None:
    """The calibration marks, the borders of the columns and the seconds below the rhythm strip."""
    along, up = PULSE_LEFT + np.array([-2, 0, 0, 5, 5, 7]), GAIN * np.array([0, 0, 1, 1, 0, 0])
    for row, line in enumerate(lines):
        mark = page.plot(along, line + up, color=BLACK, scalex=False, scaley=False)[0]
        mark.set(linewidth=0.25 * POINTS_PER_MM, solid_joinstyle="miter", zorder=2)
        mark.set_gid(f"calibration-{row + 1}")
    borders = [TRACE_LEFT + SPEED * PIECE * column for column in range(1, 4)]
    ticks = [((x, line + y), (x, line + y + 2)) for x in borders for line in lines[:3] for y in (4, -6)]
    add_lines(page, ticks, 0.3, BLACK, zorder=2)
    for second in range(int(SECONDS) + 1):
        text = f"{start + second:g}" + (" s" if second == SECONDS else "")
        add_text(page, TRACE_LEFT + SPEED * second, bottom - 2.8, text, 5.5, ha="center", color=GREY)


# ---------------------------------------------------------------------------------------------------------------- words


def _draw_caption(page: Axes, caption: Caption, sampling_frequency: float) -> None:
    right = GRID_LEFT + GRID_WIDTH
    add_text(page, GRID_LEFT, 199, fitting(caption.name, GRID_WIDTH - 60, 12, "bold"), 12, fontweight="bold")
    add_text(page, GRID_LEFT, 193, caption.person, 9)
    add_text(page, right, 199, "25 mm/s   10 mm/mV", 9, ha="right")
    origin = f"{sampling_frequency:g} Hz, not filtered · not a medical device"
    add_text(page, right, 193, origin, 7, ha="right", color=GREY)


def _notes(
    strips: Sequence[Strip], lines: Sequence[float], bottom: float, seconds: float, sampling_frequency: float
) -> list[str]:
    """What a reader of the sheet must know of what is not on it."""
    start, notes = strips[-1].start, []
    if start or seconds > start + SECONDS + 1 / sampling_frequency:
        notes.append(f"drawn: {start:.4g} to {min(start + SECONDS, seconds):.4g} s of {seconds:.4g} s")
    if seconds < start + SECONDS - 1 / sampling_frequency:
        moved = "; columns begin earlier" if any(strip.moved for strip in strips) else ""
        notes.append(f"the recording ends after {seconds:.4g} s{moved}")
    missing = [STANDARD_LEADS[strip.lead] for strip in strips[:-1] if strip.missing]
    if missing:
        notes.append(f"no signal: {', '.join(missing)}")
    beyond = [STANDARD_LEADS[strip.lead] for strip in strips if _leaves(strip, lines[strip.row], bottom)]
    if beyond:
        notes.append(f"goes beyond the paper: {', '.join(dict.fromkeys(beyond))}")
    return notes


def _leaves(strip: Strip, line: float, bottom: float) -> bool:
    return bool(line + strip.y.max() > GRID_TOP or line + strip.y.min() < bottom)


def _draw_notes(page: Axes, notes: Sequence[str]) -> None:
    """The notes below everything, in two lines at most."""
    text = printable(". ".join(note[:1].upper() + note[1:] for note in notes), NOTE_LETTERS * NOTE_LINES)
    for number, line in enumerate(textwrap.wrap(text, NOTE_LETTERS, max_lines=NOTE_LINES, placeholder=" …")):
        add_text(page, GRID_LEFT, 8 - 3 * number, line, 6, color=GREY)
