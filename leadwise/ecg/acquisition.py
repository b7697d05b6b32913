"""Is a recording acquired as those were that a model has learned from? If not, it comes from another hospital.

A hospital's machines leave a signature on every recording, whatever the heart does: the sampling frequency, the
smallest step between two values (the resolution of the converter), the length. One recording is enough to tell,
without labels, without its neighbours and without its name. What nothing in the training data resembles is foreign;
what resembles it may still come from elsewhere. Knows no networks and no labels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leadwise.ecg.recording import Recording

LEADS_ASKED = (0, 1, 6, 10)  # rows of the file, for the step: a few say it as well as all
LEAST_LEVELS = 20  # distinct values of a lead, below which it does not tell its step
STEP_PERCENTILE = 10  # of the distances of neighbouring levels: where levels are sparse, most are not neighbours
RANGE = (0.5, 99.5)  # percentiles of steps and lengths that count as usual; beyond them lie accidents
STEP_MARGIN, LENGTH_MARGIN = 1.5, 1.05  # factors by which a step and a length may still leave the range
LEAST_SHARE = 0.01  # of the training recordings: a sampling frequency that is rarer is not familiar


def measure_acquisition(recording: Recording) -> NDArray[np.float32]:
    """Sampling frequency (Hz), step (uV; NaN where no lead tells it) and length (s), (3,)."""
    counts, gains = recording.counts, recording.adc_gain
    rows = [row for row in LEADS_ASKED if row < len(counts)]
    steps = [_step(counts[row]) / gains[row] * 1000 for row in rows]
    known = [step for step in steps if math.isfinite(step)]
    frequency = recording.sampling_frequency
    return np.array([frequency, median(known) if known else np.nan, counts.shape[1] / frequency], np.float32)


def _step(counts: NDArray[Any]) -> float:
    """The usual distance of neighbouring levels of one lead, in counts; NaN where it has too few of them."""
    levels = _levels(counts)
    if len(levels) < LEAST_LEVELS:
        return math.nan
    distances = np.sort(levels[1:] - levels[:-1])
    place = (len(distances) - 1) * STEP_PERCENTILE / 100  # as numpy.percentile, which takes far longer for so few
    before, after = distances[math.floor(place)], distances[math.ceil(place)]
    return float(before + (after - before) * (place % 1))


def _levels(counts: NDArray[Any]) -> NDArray[Any]:
    """The distinct values of one lead, rising. Counts of 16 bits are ticked off in a list of all that can be, a tenth
    of the time that sorting takes: of reading and preparing a recording that would be the half."""
    if counts.dtype != np.int16:
        return np.unique(counts[np.isfinite(counts)]).astype(np.float64)
    lowest = int(counts.min())
    there = np.zeros(int(counts.max()) - lowest + 1, np.bool_)
    there[counts.astype(np.intp) - lowest] = True
    return np.flatnonzero(there)


@dataclass(frozen=True)
class AcquisitionProfile:
    """A way of acquiring recordings that a model has learned from."""

    sampling_frequency: float  # Hz
    step: tuple[float, float]  # uV, smallest and largest; (0, 1e9) where no recording told
    seconds: tuple[float, float]
    recordings: int

    def fits(self, one: NDArray[np.float32]) -> bool:
        """Whether a recording, as `acquisition` describes it, was acquired so."""
        frequency, step, seconds = map(float, one)
        return (
            abs(frequency - self.sampling_frequency) <= 0.001 * self.sampling_frequency
            and (np.isnan(step) or self.step[0] / STEP_MARGIN <= step <= self.step[1] * STEP_MARGIN)
            and self.seconds[0] / LENGTH_MARGIN <= seconds <= self.seconds[1] * LENGTH_MARGIN
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> AcquisitionProfile:
        """The inverse of `dataclasses.asdict`, also through JSON. Raises KeyError, TypeError or ValueError."""
        step, seconds = ((float(low), float(high)) for low, high in (values["step"], values["seconds"]))
        return cls(float(values["sampling_frequency"]), step, seconds, int(values["recordings"]))


def acquisition_profiles(acquisitions: NDArray[np.float32]) -> tuple[AcquisitionProfile, ...]:
    """The ways in which training recordings, (n, 3) of `acquisition`, were acquired: one for each sampling frequency
    that is not rare, in rising order."""
    profiles = []
    for frequency in np.unique(acquisitions[:, 0]):
        members = acquisitions[acquisitions[:, 0] == frequency]
        if len(members) >= LEAST_SHARE * len(acquisitions):
            steps = members[np.isfinite(members[:, 1]), 1]
            step = _range(steps) if len(steps) else (0.0, 1e9)
            profiles.append(AcquisitionProfile(float(frequency), step, _range(members[:, 2]), len(members)))
    return tuple(profiles)


def _range(values: NDArray[np.float32]) -> tuple[float, float]:
    low, high = np.percentile(values, RANGE).astype(float).round(4)
    return float(low), float(high)


def out_of_distribution(acquisitions: NDArray[np.float32], profiles: Sequence[AcquisitionProfile]) -> NDArray[np.bool_]:
    """Which recordings, (n, 3) of `acquisition`, were acquired in none of the ways, (n,)."""
    return np.array([not any(way.fits(one) for way in profiles) for one in acquisitions], np.bool_)
