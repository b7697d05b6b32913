"""Draw the standard sheet of one ECG on A4: 25 mm/s, 10 mm/mV, three rows of four leads and a rhythm strip.

Below the trace there may be the diagnoses with their probabilities, and a map of the evidence, which is shaded on the
trace too.
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
from leadwise.report.sheet import layout, paper
from leadwise.report.sheet.layout import GRID_LEFT, GRID_TOP, GRID_WIDTH, SECONDS, TRACE_LEFT, Finding, Span, Strip
from leadwise.report.sheet.panel import draw_findings, draw_map, shading, strongest_of
from leadwise.report.sheet.paper import BLACK, GREY, POINTS_PER_MM, add_box, add_lines, add_text, fitting, printable
from leadwise.util.files import atomic_write

__all__ = ["Caption", "Finding", "Span", "caption_of", "draw_sheet", "save_sheet"]

BOTTOM, BOTTOM_ABOVE_PANEL = 20.0, 65.0  # mm, of the grid
GRID_RIGHT = GRID_LEFT + GRID_WIDTH
THIN, THICK = "#f6d9d3", "#e6a99d"  # the usual red, pale enough to be grey in print
PULSE_LEFT = GRID_LEFT + 5  # mm, of the calibration mark: 1 mV for 0.2 s
NOTE_LETTERS, NOTE_LINES = 225, 2
MAX_AGE = 120  # years; PTB-XL writes 300 for over 89


@dataclass(frozen=True)
class Caption:
    """The text above the trace, and notes for below it."""

    name: str = ""
    age: float | None = None  # years
    sex: Literal["female", "male"] | None = None
    rate: float | None = None  # beats per minute
    notes: tuple[str, ...] = ()

    @property
    def person(self) -> str:
        """Return age, sex and heart rate in a line."""
        if self.age is None or self.age < 0:
            age = "age unknown"
        else:
            age = "over 89 years" if self.age > MAX_AGE else f"{self.age:.3g} years"
        rate = "heart rate unclear" if self.rate is None else f"heart rate {self.rate:.0f}/min"
        return f"{age} · {self.sex or 'sex unknown'} · {rate}"


def caption_of(recording: Recording, signal: Signal) -> Caption:
    """Return the caption of a recording; the heart rate comes from `signal`, its standard leads in mV."""
    header = recording.header
    repairs = dict.fromkeys(repair.name for repair in (*recording.repairs, *signal.repairs))
    notes = (f"repaired or doubtful: {', '.join(repairs)}",) if repairs else ()
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
    """Draw an ECG, (12, samples) in mV in standard order, sampled at so many Hz; a lead of zeros is missing.

    Ten seconds from `start` (s) on are drawn. In a shorter recording the columns begin earlier, so that each lead is
    visible. The median of each strip lies on its baseline; nothing is filtered. `findings` (up to 24) are listed in the
    given order, `spans` are shaded. The label of the figure is its text alternative. Raises ValueError as `layout.cut`
    does, and for spans outside the recording.
    """
    strips = layout.cut(signal_mV, sampling_frequency, start)
    seconds = signal_mV.shape[1] / sampling_frequency
    spans = [_checked(Span(*span), seconds) for span in spans]
    bottom = BOTTOM_ABOVE_PANEL if findings or spans else BOTTOM
    lines = layout.row_lines(strips, bottom)
    with paper.own_settings():
        figure, page = paper.new_page(*layout.PAGE)
        grid = _draw_grid(page, bottom)
        _draw_spans(page, strips, spans, lines, grid)
        labels = [
            _label_height([strip for strip in strips if strip.row == row], lines[row]) for row in range(len(lines))
        ]
        for strip in strips:
            _draw_strip(page, strip, lines[strip.row], labels[strip.row], grid)
        _draw_marks(page, lines, bottom, start)
        _draw_caption(page, caption, sampling_frequency)
        _draw_notes(page, [*_notes(strips, lines, bottom, seconds, sampling_frequency), *caption.notes])
        draw_findings(page, findings, beside_map=bool(spans))
        if spans:
            draw_map(page, strips, spans, spans_title, seconds)
    figure.set_label(_alternative(caption, findings))
    return figure


def save_sheet(path: str | Path, figure: Figure, dpi: float = paper.DPI) -> None:
    """Write a sheet in true size as PNG, SVG or PDF, by the name's ending; `dpi` is a PNG's resolution.

    Raises ValueError for other endings, OSError if the file cannot be written.
    """
    kind = Path(path).suffix[1:].lower()
    if kind not in paper.FORMATS:
        raise ValueError(f"{path}: the name of a picture ends in .png, .svg or .pdf")
    content = paper.figure_bytes(figure, kind, dpi)
    with atomic_write(Path(path), durable=False) as handle:
        handle.write(content)


def _checked(span: Span, seconds: float) -> Span:
    if not (span.lead in range(len(STANDARD_LEADS)) and 0 <= span.start < span.end <= seconds + 1e-6):
        raise ValueError(f"{span} is no part of twelve leads of {seconds:g} s")
    if not math.isfinite(span.weight):
        raise ValueError(f"the weight of {span} is not finite")
    return span


def _alternative(caption: Caption, findings: Sequence[Finding]) -> str:
    present = ", ".join(f"{printable(finding.name, 60)} ({finding.status})" for finding in findings if finding.status)
    diagnoses = f" Diagnoses: {present or 'none'}." if findings else ""
    name = printable(caption.name, 60)
    return f"12-lead ECG{' ' + name if name else ''}, 25 mm/s, 10 mm/mV; {caption.person}.{diagnoses}"


def _draw_grid(page: Axes, bottom: float) -> Rectangle:
    """Draw millimetre paper, each fifth line thicker; return its frame, which clips the traces."""
    across = [((x, bottom), (x, GRID_TOP)) for x in np.arange(GRID_LEFT, GRID_RIGHT + 1).tolist()]
    along = [((GRID_LEFT, y), (GRID_RIGHT, y)) for y in np.arange(bottom, GRID_TOP + 1).tolist()]
    add_lines(page, across + along, 0.1, THIN, zorder=0.1, gid="grid-1mm")
    add_lines(page, across[::5] + along[::5], 0.2, THICK, zorder=0.2, gid="grid-5mm")
    return add_box(page, GRID_LEFT, bottom, GRID_WIDTH, GRID_TOP - bottom, facecolor="none", linewidth=0)


def _label(strip: Strip) -> str:
    name = STANDARD_LEADS[strip.lead]
    if strip.missing:
        return f"{name}  no signal"
    return f"{name}  from {strip.start:.4g} s" if strip.moved else name


def _label_height(strips: Sequence[Strip], line: float) -> float:
    """Return the height of the names in a row (mm): above the beginning of each of its traces."""
    above = [strip.y[strip.x < strip.left + 2.4 * len(_label(strip)) + 2].max(initial=5) for strip in strips]
    return float(min(line + min(max(above), layout.MAX_REACH) + 2, GRID_TOP - 4))


def _draw_strip(page: Axes, strip: Strip, line: float, label_height: float, grid: Rectangle) -> None:
    """Draw the trace of one strip and the lead's name above its beginning; only the name of a missing lead."""
    name = STANDARD_LEADS[strip.lead]
    background = {"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 0.8}
    add_text(page, strip.left + 1, label_height, _label(strip), 8, fontweight="bold", bbox=background, zorder=1)
    if strip.missing:
        return
    low, high = (edge - line for edge in (grid.get_y() - 5, GRID_TOP + 5))  # viewers cannot handle huge coordinates
    trace = page.plot(strip.x, line + np.clip(strip.y, low, high), color=BLACK, scalex=False, scaley=False)[0]
    trace.set(linewidth=0.25 * POINTS_PER_MM, solid_joinstyle="round", zorder=2, clip_path=grid)
    trace.set_gid("rhythm" if strip.seconds == SECONDS else f"lead-{name}")


def _draw_spans(
    page: Axes, strips: Sequence[Strip], spans: Sequence[Span], lines: Sequence[float], grid: Rectangle
) -> None:
    strongest = strongest_of(spans)
    for strip in strips:
        for span in spans:
            left, right = strip.place(span.start), strip.place(span.end)
            if span.lead == strip.lead and left < right:
                style = shading(span, strongest) | {"zorder": 0.5, "clip_path": grid, "gid": "evidence"}
                add_box(page, left, lines[strip.row] - 9, right - left, 21, **style)


def _draw_marks(page: Axes, lines: Sequence[float], bottom: float, start: float) -> None:
    """Draw the calibration marks, the borders of the columns and the seconds below the rhythm strip."""
    along, up = PULSE_LEFT + np.array([-2, 0, 0, 5, 5, 7]), layout.GAIN * np.array([0, 0, 1, 1, 0, 0])
    for row, line in enumerate(lines):
        mark = page.plot(along, line + up, color=BLACK, scalex=False, scaley=False)[0]
        mark.set(linewidth=0.25 * POINTS_PER_MM, solid_joinstyle="miter", zorder=2)
        mark.set_gid(f"calibration-{row + 1}")
    borders = [TRACE_LEFT + layout.SPEED * layout.PIECE * column for column in range(1, 4)]
    ticks = [((x, line + y), (x, line + y + 2)) for x in borders for line in lines[:3] for y in (4, -6)]
    add_lines(page, ticks, 0.3, BLACK, zorder=2)
    for second in range(int(SECONDS) + 1):
        text = f"{start + second:g}" + (" s" if second == SECONDS else "")
        add_text(page, TRACE_LEFT + layout.SPEED * second, bottom - 2.8, text, 5.5, ha="center", color=GREY)


def _draw_caption(page: Axes, caption: Caption, sampling_frequency: float) -> None:
    add_text(page, GRID_LEFT, 199, fitting(caption.name, GRID_WIDTH - 60, 12, "bold"), 12, fontweight="bold")
    add_text(page, GRID_LEFT, 193, caption.person, 9)
    add_text(page, GRID_RIGHT, 199, "25 mm/s   10 mm/mV", 9, ha="right")
    origin = f"{sampling_frequency:g} Hz, not filtered · not a medical device"
    add_text(page, GRID_RIGHT, 193, origin, 7, ha="right", color=GREY)


def _notes(
    strips: Sequence[Strip], lines: Sequence[float], bottom: float, seconds: float, sampling_frequency: float
) -> list[str]:
    start, notes = strips[-1].start, []
    if start or seconds > start + SECONDS + 1 / sampling_frequency:
        notes.append(f"drawn: {start:.4g} to {min(start + SECONDS, seconds):.4g} s of {seconds:.4g} s")
    if seconds < start + SECONDS - 1 / sampling_frequency:
        moved = "; columns begin earlier" if any(strip.moved for strip in strips) else ""
        notes.append(f"the recording ends after {seconds:.4g} s{moved}")
    missing = [STANDARD_LEADS[strip.lead] for strip in strips[:-1] if strip.missing]
    if missing:
        notes.append(f"no signal: {', '.join(missing)}")
    beyond = [
        STANDARD_LEADS[strip.lead]
        for strip in strips
        if lines[strip.row] + strip.y.max() > GRID_TOP or lines[strip.row] + strip.y.min() < bottom
    ]
    if beyond:
        notes.append(f"exceeds the grid: {', '.join(dict.fromkeys(beyond))}")
    return notes


def _draw_notes(page: Axes, notes: Sequence[str]) -> None:
    text = printable(". ".join(note[:1].upper() + note[1:] for note in notes), NOTE_LETTERS * NOTE_LINES)
    for number, line in enumerate(textwrap.wrap(text, NOTE_LETTERS, max_lines=NOTE_LINES, placeholder=" …")):
        add_text(page, GRID_LEFT, 8 - 3 * number, line, 6, color=GREY)
