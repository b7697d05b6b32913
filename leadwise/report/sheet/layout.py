"""Compute where each piece of an ECG lies on the sheet, in millimetres of an A4 page; nothing is drawn here.

The sheet has three rows of four leads, 2.5 s each, one after the other in time, and below them a rhythm strip of 10 s.
The baselines of the rows lie where the traces need them.
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
TRACE_LEFT = GRID_LEFT + 15  # after the calibration mark
MIN_UP, MIN_DOWN, MAX_REACH = 12.0, 6.0, 28.0  # room of a row above and below its baseline
TOLERANCE = 0.5  # s that may be missing from ten seconds before the columns move to where there is signal

Array = NDArray[np.float64]


class Span(NamedTuple):
    """A part of one lead that mattered: seconds from the recording's start; weight above 0 for, below 0 against."""

    lead: int  # index in standard order
    start: float
    end: float
    weight: float  # in any unit: shading is relative to the largest


@dataclass(frozen=True)
class Finding:
    """A line of the table of diagnoses; sensitivity and PPV are those of validation, if known."""

    name: str
    probability: float
    threshold: float
    status: str  # "likely", "possible" or ""
    sensitivity: float | None = None
    ppv: float | None = None


@dataclass(frozen=True, eq=False)
class Strip:
    """A piece of one lead on the sheet."""

    lead: int  # index in standard order
    row: int
    left: float  # mm
    start: float  # s of the recording at `left`
    seconds: float  # that the strip has room for
    x: Array  # (samples,) mm
    y: Array  # (samples,) mm above the row's baseline
    missing: bool  # the whole lead is zeros
    moved: bool = False  # begins earlier than its column usually does

    def place(self, seconds: float) -> float:
        """Return the position of a time of the recording in mm from the page's left, at most the strip's ends."""
        return self.left + SPEED * min(max(seconds - self.start, 0.0), self.seconds)


def cut(signal_mV: NDArray[np.floating], sampling_frequency: float, start: float = 0.0) -> list[Strip]:
    """Cut an ECG, (12, samples) in mV, into thirteen strips from `start` (s) on: twelve leads, then the rhythm strip.

    Raises ValueError for another shape, values that are not finite, and a start outside the recording.
    """
    signal = np.asarray(signal_mV, np.float64)
    if signal.ndim != 2 or len(signal) != len(STANDARD_LEADS) or not np.isfinite(signal).all():
        raise ValueError("the signal must be (12, samples), without NaN or infinite values")
    if not 0 < sampling_frequency < np.inf:
        raise ValueError(f"a sampling frequency of {sampling_frequency:g} Hz cannot be drawn")
    if not 0 <= start <= (signal.shape[1] - 1) / sampling_frequency:
        raise ValueError(f"start {start:g} s is outside the recording")
    strips = []
    for column, begin in enumerate(column_starts(signal.shape[1] / sampling_frequency, start)):
        for row in range(3):
            strip = _strip(signal, sampling_frequency, 3 * column + row, (row, column), begin, PIECE)
            strips.append(replace(strip, moved=begin < start + PIECE * column))
    return [*strips, _strip(signal, sampling_frequency, RHYTHM_LEAD, (ROWS - 1, 0), start, SECONDS)]


def _strip(
    signal: Array, sampling_frequency: float, lead: int, place: tuple[int, int], start: float, seconds: float
) -> Strip:
    first = math.ceil(start * sampling_frequency - 1e-6)
    last = math.floor((start + seconds) * sampling_frequency + 1e-6)  # included: the next strip begins with it
    values = signal[lead, first : last + 1]
    row, column = place
    left = TRACE_LEFT + SPEED * PIECE * column
    x = left + SPEED * (np.arange(first, first + len(values)) / sampling_frequency - start)
    y = GAIN * (values - np.median(values))  # offsets and wander would carry the trace away from its row
    return Strip(lead, row, left, start, seconds, x, y, not signal[lead].any())


def column_starts(seconds: float, start: float) -> list[float]:
    """Return when each column begins: every 2.5 s; in less than 10 s of signal, no later than it can be filled."""
    left = seconds - start
    latest = max(left - PIECE, 0.0) if left < SECONDS - TOLERANCE else SECONDS
    return [start + min(PIECE * column, latest) for column in range(COLUMNS)]


def row_lines(strips: Sequence[Strip], bottom: float) -> list[float]:
    """Return the height of each row's baseline in whole mm, such that the traces lie above the grid's `bottom`.

    Free room is shared equally; without any, the rows overlap, as on paper.
    """
    up, down = np.full(ROWS, MIN_UP), np.full(ROWS, MIN_DOWN)
    for strip in strips:
        up[strip.row] = max(up[strip.row], min(strip.y.max() + 1, MAX_REACH))
        down[strip.row] = max(down[strip.row], min(1 - strip.y.min(), MAX_REACH))
    above, steps = up[0], down[:-1] + up[1:]
    free = GRID_TOP - bottom - above - steps.sum() - down[-1]
    if free >= 0:
        above, steps = above + free / ROWS / 2, steps + free / ROWS
    else:
        steps = steps * (1 + free / steps.sum())
    lines = GRID_TOP - above - np.concatenate([[0.0], steps.cumsum()])
    return [float(math.floor(line)) for line in lines]
