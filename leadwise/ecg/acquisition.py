"""Compare how a recording was acquired with the training data: sampling frequency, ADC step and duration.

These depend on the hospital's devices, not on the heart. A recording that matches no profile of the training data is
most likely from another hospital; one that matches may be.
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
MAX_DISTINCT = 0.9  # share of a lead's samples with distinct values; above it the samples show no step
DEVIATION = 0.01  # of the distance of two levels from a multiple of a count or of the smallest distance, at most
RANGE = (0.5, 99.5)  # percentiles of the training data's steps and durations; those outside are accidents
# Standard deviations, in logarithms, of what lies beyond the ranges of a profile. They keep a recording that has been
# cut from 10 to 9.4 s, and tell one of 6 s, of 250 instead of 500 Hz, or of 4.88 instead of 1 uV.
FREQUENCY_SD, STEP_SD, DURATION_SD = 0.02, 0.4, 0.1
MISMATCH = -5.0  # smallest log likelihood ratio: about one recording in 150 is acquired unlike all others
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
    if not MIN_LEVELS <= len(levels) <= MAX_DISTINCT * np.isfinite(counts).sum():
        return math.nan
    distances = np.sort(levels[1:] - levels[:-1])
    if not (_are_multiples(distances, 1.0) or _are_multiples(distances, distances[0])):
        return math.nan
    position = (len(distances) - 1) * STEP_PERCENTILE / 100  # numpy.percentile takes far longer for so few
    before, after = distances[math.floor(position)], distances[math.ceil(position)]
    return float(before + (after - before) * (position % 1))


def _are_multiples(distances: NDArray[Any], unit: float) -> bool:
    multiples = distances / unit
    nearest = np.rint(multiples)
    return bool(nearest.min() >= 1 and np.abs(multiples - nearest).max() <= DEVIATION)


@dataclass(frozen=True)
class AcquisitionProfile:
    """The range of acquisition properties at one sampling frequency in the training data."""

    sampling_frequency: float  # Hz
    step: tuple[float, float]  # uV, smallest and largest; (0, 1e9) if no recording shows its step
    seconds: tuple[float, float]
    recordings: int

    def log_match(self, acquisition: NDArray[np.float32]) -> float:
        """Return the log likelihood ratio of the values of `measure_acquisition`, (3,), in this profile to those
        elsewhere: 0 within its ranges, and falling with the distance from them. An unknown step matches."""
        frequency, step, seconds = map(float, acquisition)
        deviations = (
            math.log(frequency / self.sampling_frequency) / FREQUENCY_SD,
            0.0 if math.isnan(step) else _excess(step, self.step) / STEP_SD,
            _excess(seconds, self.seconds) / DURATION_SD,
        )
        return max(MISMATCH, -sum(deviation**2 for deviation in deviations) / 2)

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


def _excess(value: float, limits: tuple[float, float]) -> float:
    """Return the logarithm of the factor by which a value lies beyond limits; 0 within."""
    low, high = limits
    return max(0.0, math.log(low / value) if low > 0 else 0.0, math.log(value / high) if high > 0 else 0.0)


def acquisition_match(acquisitions: NDArray[np.float32], profiles: Sequence[AcquisitionProfile]) -> NDArray[np.float64]:
    """Return the log likelihood ratio (n,) of in distribution to out of distribution of the measured recordings,
    (n, 3): that of the profile that matches best."""
    return np.array([max((p.log_match(row) for p in profiles), default=MISMATCH) for row in acquisitions], np.float64)
