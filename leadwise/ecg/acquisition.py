"""Detect recordings acquired unlike the training data, by sampling frequency, ADC step and duration.

These depend on the hospital's devices, not on the heart. A recording that fits no profile of the training data is out
of distribution; one that fits may still be from another hospital.
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

SAMPLED_LEADS = (0, 1, 6, 10)  # rows of the file in which the step is measured; all leads would give the same
MIN_LEVELS = 20  # distinct values that a lead needs for its step to be measured
STEP_PERCENTILE = 10  # of the distances between neighbouring levels, which are larger where levels are sparse
RANGE = (0.5, 99.5)  # percentiles of the training data's steps and durations; those outside are accidents
STEP_MARGIN, DURATION_MARGIN = 1.5, 1.05  # factors by which a recording may exceed the range of a profile
MIN_SHARE = 0.01  # of the training recordings: a rarer sampling frequency gets no profile


def measure_acquisition(recording: Recording) -> NDArray[np.float32]:
    """Return sampling frequency (Hz), ADC step (uV; NaN if no lead shows it) and duration (s), (3,)."""
    counts, gains = recording.counts, recording.adc_gain
    rows = [row for row in SAMPLED_LEADS if row < len(counts)]
    steps = [_step(counts[row]) / gains[row] * 1000 for row in rows]
    known = [step for step in steps if math.isfinite(step)]
    frequency = recording.sampling_frequency
    return np.array([frequency, median(known) if known else np.nan, counts.shape[1] / frequency], np.float32)


def _step(counts: NDArray[Any]) -> float:
    """Return the usual distance of neighbouring levels of one lead, in counts; NaN if it has too few levels."""
    if counts.dtype == np.int16:  # a table of all possible values takes a tenth of the time of sorting
        lowest = int(counts.min())
        present = np.zeros(int(counts.max()) - lowest + 1, np.bool_)
        indices = counts.astype(np.intp)
        indices -= lowest  # in place: it is large for a day
        present[indices] = True
        levels: NDArray[Any] = np.flatnonzero(present)
    else:
        levels = np.unique(counts[np.isfinite(counts)]).astype(np.float64)
    if len(levels) < MIN_LEVELS:
        return math.nan
    distances = np.sort(levels[1:] - levels[:-1])
    position = (len(distances) - 1) * STEP_PERCENTILE / 100  # numpy.percentile takes far longer for so few
    before, after = distances[math.floor(position)], distances[math.ceil(position)]
    return float(before + (after - before) * (position % 1))


@dataclass(frozen=True)
class AcquisitionProfile:
    """The range of acquisition properties at one sampling frequency in the training data."""

    sampling_frequency: float  # Hz
    step: tuple[float, float]  # uV, smallest and largest; (0, 1e9) if no recording shows its step
    seconds: tuple[float, float]
    recordings: int

    def fits(self, acquisition: NDArray[np.float32]) -> bool:
        """Return whether the values of `measure_acquisition`, (3,), lie within this profile and its margins."""
        frequency, step, seconds = map(float, acquisition)
        return (
            abs(frequency - self.sampling_frequency) <= 0.001 * self.sampling_frequency
            and (np.isnan(step) or self.step[0] / STEP_MARGIN <= step <= self.step[1] * STEP_MARGIN)
            and self.seconds[0] / DURATION_MARGIN <= seconds <= self.seconds[1] * DURATION_MARGIN
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> AcquisitionProfile:
        """Invert `dataclasses.asdict`, also through JSON. Raises KeyError, TypeError or ValueError."""
        step, seconds = ((float(low), float(high)) for low, high in (values["step"], values["seconds"]))
        return cls(float(values["sampling_frequency"]), step, seconds, int(values["recordings"]))


def acquisition_profiles(acquisitions: NDArray[np.float32]) -> tuple[AcquisitionProfile, ...]:
    """Return a profile for each sampling frequency that is not rare, ascending, from (n, 3) measured values."""
    profiles = []
    for frequency in np.unique(acquisitions[:, 0]):
        members = acquisitions[acquisitions[:, 0] == frequency]
        if len(members) >= MIN_SHARE * len(acquisitions):
            steps = members[np.isfinite(members[:, 1]), 1]
            step = _range(steps) if len(steps) else (0.0, 1e9)
            profiles.append(AcquisitionProfile(float(frequency), step, _range(members[:, 2]), len(members)))
    return tuple(profiles)


def _range(values: NDArray[np.float32]) -> tuple[float, float]:
    low, high = np.percentile(values, RANGE).astype(float).round(4)
    return float(low), float(high)


def out_of_distribution(acquisitions: NDArray[np.float32], profiles: Sequence[AcquisitionProfile]) -> NDArray[np.bool_]:
    """Return which of the measured recordings, (n, 3), fit no profile, (n,)."""
    return np.array([not any(profile.fits(row) for profile in profiles) for row in acquisitions], np.bool_)
