"""Where each piece of an ECG lies on the sheet, in millimetres of an A4 page: numbers alone, nothing is drawn.

Three rows of four leads, 2.5 s each, one after the other in time, and a rhythm strip of 10 s below them; the
rows' lines lie where the traces need them. Knows no matplotlib, no files and no diagnoses.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from leadwise.ecg.leads import STANDARD_LEADS

PAGE = (297.0, 210.0)  # A4, landscape
SPEED, GAIN = 25.0, 10.0  # mm/s, mm/mV
SECONDS, PIECE = 10.0, 2.5  # s, of the rhythm strip and of each lead
ROWS, COLUMNS = 4, 4  # the last row is the rhythm strip
RHYTHM_LEAD = STANDARD_LEADS.index("II")
GRID_LEFT, GRID_WIDTH, GRID_TOP = 11.0, 275.0, 190.0
TRACE_LEFT = GRID_LEFT + 15  # room for the calibration mark before it
LEAST_UP, LEAST_DOWN, MOST = 12.0, 6.0, 28.0  # how far a row is taken to reach above and below its line
NEARLY = 0.5  # s that ten seconds may lack before the columns move to where there is signal

Array = NDArray[np.float64]


class Span(NamedTuple):
    """A part of one lead that mattered: seconds from the recording's start; weight above 0 for, below 0 against."""

    lead: int  # place in standard order
    start: float
    end: float
    weight: float  # in any unit: shading is relative to the largest


@dataclass(frozen=True, eq=False)
class Strip:
    """A piece of one lead on the sheet."""

    lead: int  # place in standard order
    row: int
    left: float  # mm
    start: float  # s of the recording that lies at `left`
    seconds: float  # room for so many
    x: Array  # (samples,) mm
    y: Array  # (samples,) mm above the row's line
    missing: bool  # the whole lead is zeros
    moved: bool = False  # begins earlier than its column usually does

    def place(self, seconds: float) -> float:
        """Where a second of the recording lies, mm from the page's left; the strip's ends for what is beyond."""
        return self.left + SPEED * min(max(seconds - self.start, 0.0), self.seconds)


def cut(signal_mV: NDArray[np.floating], sampling_frequency: float, start: float = 0.0) -> list[Strip]:
    """The thirteen strips of an ECG, (12, samples) in mV, from `start` (s) on: twelve leads, then the rhythm strip.

    Raises ValueError for another shape, values that are no numbers, and a start that is not within the recording.
    """
    signal = np.asarray(signal_mV, np.float64)
    if signal.ndim != 2 or len(signal) != len(STANDARD_LEADS) or not np.isfinite(signal).all():
        raise ValueError("the signal must be (12, samples), without NaN or infinite values")
    if not 0 < sampling_frequency < np.inf:
        raise ValueError(f"a sampling frequency of {sampling_frequency:g} Hz cannot be drawn")
    if not 0 <= start <= (signal.shape[1] - 1) / sampling_frequency:
        raise ValueError(f"start {start:g} s is not within the recording")
    strips = []
    for column, begin in enumerate(column_starts(signal.shape[1] / sampling_frequency, start)):
        for row in range(3):
            strip = _strip(signal, sampling_frequency, 3 * column + row, (row, column), begin, PIECE)
            strips.append(replace(strip, moved=begin < start + PIECE * column))
    return [*strips, _strip(signal, sampling_frequency, RHYTHM_LEAD, (ROWS - 1, 0), start, SECONDS)]


def _strip(
    signal: Array, sampling_frequency: float, lead: int, place: tuple[int, int], start: float, seconds: float
) -> Strip:
    """One strip; its median lies on the row's line, so that wander and offsets do not carry it away."""
    first = math.ceil(start * sampling_frequency - 1e-6)
    last = math.floor((start + seconds) * sampling_frequency + 1e-6)  # included: the next strip begins with it
    values = signal[lead, first : last + 1]
    row, column = place
    left = TRACE_LEFT + SPEED * PIECE * column
    x = left + SPEED * (np.arange(first, first + len(values)) / sampling_frequency - start)
    y = GAIN * (values - np.median(values))
    return Strip(lead, row, left, start, seconds, x, y, not signal[lead].any())


def column_starts(seconds: float, start: float) -> list[float]:
    """When each column begins: every 2.5 s, and in what is shorter than 10 s as late as there is signal to fill it."""
    left = seconds - start
    latest = max(left - PIECE, 0.0) if left < SECONDS - NEARLY else SECONDS
    return [start + min(PIECE * column, latest) for column in range(COLUMNS)]


def row_lines(strips: Sequence[Strip], bottom: float) -> list[float]:
    """The height of each row's line: whole mm, such that the traces lie within the grid, whose lower end is `bottom`.

    Where there is room it is shared equally; where there is none, the rows overlap, as on paper.
    """
    up, down = np.full(ROWS, LEAST_UP), np.full(ROWS, LEAST_DOWN)
    for strip in strips:
        up[strip.row] = max(up[strip.row], min(strip.y.max() + 1, MOST))
        down[strip.row] = max(down[strip.row], min(1 - strip.y.min(), MOST))
    steps = down[:-1] + up[1:]
    spare = GRID_TOP - bottom - up[0] - steps.sum() - down[-1]
    if spare >= 0:
        above, steps = up[0] + spare / ROWS / 2, steps + spare / ROWS
    else:
        above, steps = up[0], steps * (1 + spare / steps.sum())
    lines = GRID_TOP - above - np.concatenate([[0.0], steps.cumsum()])
    return [float(math.floor(line)) for line in lines]
