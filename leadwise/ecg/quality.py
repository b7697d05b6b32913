"""Warn of a doubtful signal: flat, cut-off, loose or noisy leads, swapped limb leads, hardly an ECG.

Warnings change neither the signal nor the answer. The limits were chosen on PTB-XL so that few good recordings get one;
docs/reliability.md has the rates for good and bad recordings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from leadwise.ecg.leads import STANDARD_LEADS, standard_leads
from leadwise.ecg.recording import Recording
from leadwise.ecg.repairs import Repair
from leadwise.ecg.resampling import resample_polyphase

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]
QUALITY_WARNINGS: Final[dict[str, str]] = {
    "flat": "a lead of the file has one value throughout, or moves by less than 0.1 mV",
    "cut-off": "a lead remains at its highest or lowest value for a tenth of a second, as if saturated",
    "loose": "a lead wanders by more than 5 mV or goes more than 8 mV from its median, as under a loose electrode",
    "noisy": "a lead has noise of more than 0.12 mV (in its second differences at 125 Hz)",
    "no-beats": "a lead does not show the beats that the other leads show",
    "limb-leads-swapped": "lead I is the opposite of V6, or aVR is like V6, where the limb leads are good",
    "hardly-an-ecg": "the leads' beats do not agree or hardly stand out, or half of the leads are flat or loose",
}
_WORDS: Final[dict[str, str]] = {
    "flat": "{leads} {are} flat",
    "cut-off": "{leads} {are} cut off at the largest values",
    "loose": "{leads} swing{s} by many millivolts, as under a loose electrode",
    "noisy": "{leads} {are} noisy",
    "no-beats": "{leads} show{s} no beats",
    "limb-leads-swapped": "limb leads look swapped",
    "hardly-an-ecg": "hardly an ECG",
}
RATE = 125.0  # Hz: enough for beats and most noise; a lower sampling frequency is kept
MIN_SECONDS = 2.0  # shorter recordings are only checked for flat and saturated leads
MIN_RANGE = 0.1  # mV between the 0.5th and the 99.5th percentile; PTB-XL's lowest lead has 0.15
MAX_STAY = 0.1  # s in a row at the lead's own extreme
MAX_WANDER = 5.0  # mV between highest and lowest mean over 0.6 s
MAX_SWING = 8.0  # mV from the median
MAX_NOISE = 0.12  # mV
MIN_AGREEMENT = 0.3  # correlation of a lead's beats with those of all
MIN_COMMON_AGREEMENT = 0.85  # the same for half of the leads
MIN_SHARPNESS = 3.0  # of the common beats: 97th percentile over median of their size
MIN_BEAT = 0.05  # mV: smaller activity is not scaled up to the size of other leads' beats
OPPOSITE = -0.4  # correlation of I and V6
ALIKE = 0.3  # correlation of aVR and V6


@dataclass(frozen=True)
class QualityWarning:
    """Hold a name from `QUALITY_WARNINGS` and the leads concerned (none: the whole recording); str() gives words."""

    name: str
    leads: tuple[str, ...] = ()

    def __str__(self) -> str:
        several = len(self.leads) > 1
        leads = ", ".join(self.leads[:-1]) + " and " + self.leads[-1] if several else "".join(self.leads)
        return _WORDS[self.name].format(leads=leads, are="are" if several else "is", s="" if several else "s")


def quality_warnings(recording: Recording) -> tuple[QualityWarning, ...]:
    """Return the warnings on a recording: none for a good one, nor for leads that the file does not have. Raises
    RecordingError if no lead can be used."""
    signal = standard_leads(recording, "mV")
    constant = _repaired(signal.repairs, "lead-flat", "lead-without-values")  # (12,): derived or zero in `values`
    saturated = _repaired(signal.repairs, "lead-saturated")
    if signal.values.shape[1] < MIN_SECONDS * signal.sampling_frequency:
        return _lead_warnings({"flat": constant, "cut-off": saturated})
    present = ~_repaired(signal.repairs, "lead-missing", "lead-derived") & ~constant & ~saturated
    rate = min(signal.sampling_frequency, RATE)
    values = resample_polyphase(signal.values, signal.sampling_frequency, rate).astype(np.float64)
    values -= np.median(values, axis=1, keepdims=True)
    slow = _moving_mean(values, round(0.6 * rate))
    flat = np.quantile(values, 0.995, axis=1) - np.quantile(values, 0.005, axis=1) < MIN_RANGE
    good = present & ~flat
    found = {
        "flat": constant | (present & flat),
        "cut-off": saturated | (good & (_longest_stay(signal.values) >= MAX_STAY * signal.sampling_frequency)),
        "loose": good & ((np.ptp(slow, axis=1) > MAX_WANDER) | (np.abs(values).max(axis=1) > MAX_SWING)),
        "noisy": good & (np.median(np.abs(np.diff(values, 2, axis=1)), axis=1) / 0.6745 > MAX_NOISE),
    }
    overall = _check_beats(values, rate, good, found)
    return (*_lead_warnings(found), *(QualityWarning(name) for name in overall))


def _lead_warnings(found: Mapping[str, Booleans]) -> tuple[QualityWarning, ...]:
    """Return a warning for each name that was found in any lead, (12,)."""
    leads = {name: tuple(np.array(STANDARD_LEADS)[rows].tolist()) for name, rows in found.items() if rows.any()}
    return tuple(QualityWarning(name, names) for name, names in leads.items())


def _repaired(repairs: Sequence[Repair], *names: str) -> Booleans:
    """Return which of the standard leads, (12,), have one of the repairs."""
    details = [repair.detail for repair in repairs if repair.name in names]
    leads = {lead.strip("'").lower() for detail in details for lead in detail.split(", ")}
    return np.array([lead.lower() in leads for lead in STANDARD_LEADS])


def _moving_mean(values: Floats, width: int) -> Floats:
    padded = np.pad(values, ((0, 0), (width // 2 + 1, width - width // 2 - 1)), mode="edge")  # `width` about each
    sums = np.cumsum(padded, axis=1)
    return (sums[:, width:] - sums[:, :-width]) / width


def _longest_stay(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the most samples in a row at each lead's own highest or lowest value, (12,)."""
    longest = np.zeros(len(values), np.int64)
    for extreme in (values.max(axis=1, keepdims=True), values.min(axis=1, keepdims=True)):
        for lead, row in enumerate(values == extreme):
            edges = np.flatnonzero(np.diff(row, prepend=False, append=False))
            longest[lead] = max(longest[lead], np.diff(edges)[::2].max())
    return longest


def _check_beats(values: Floats, rate: float, good: Booleans, found: dict[str, Booleans]) -> list[str]:
    """Return the warnings about the whole recording, and put the leads without beats into `found`."""
    quick = _moving_mean(values, 3) - _moving_mean(values, round(0.12 * rate))  # mostly QRS complexes
    sizes = _moving_mean(np.abs(quick), round(0.1 * rate))  # (12, samples)
    sizes /= np.maximum(np.quantile(sizes, 0.97, axis=1, keepdims=True), MIN_BEAT)
    beats = np.median(sizes[good], axis=0) if good.any() else np.zeros(sizes.shape[1])
    agreement = np.array([_correlation(lead, beats) for lead in sizes])
    found["no-beats"] = good & (agreement < MIN_AGREEMENT)
    bad = found["flat"] | found["loose"]
    shared = np.median(np.where(good, agreement, 0)[good | found["flat"]]) if good.any() else 0.0
    blurred = np.quantile(beats, 0.97) < MIN_SHARPNESS * np.median(beats)
    i, avr, v6 = (STANDARD_LEADS.index(lead) for lead in ("I", "aVR", "V6"))
    usable = good & ~bad & ~found["no-beats"]
    opposite = usable[[i, v6]].all() and _correlation(quick[i], quick[v6]) < OPPOSITE
    alike = usable[[avr, v6]].all() and _correlation(quick[avr], quick[v6]) > ALIKE
    hardly = shared < MIN_COMMON_AGREEMENT or blurred or 2 * bad.sum() >= (good | bad).sum()
    return ["limb-leads-swapped"] * bool(opposite or alike) + ["hardly-an-ecg"] * bool(hardly)


def _correlation(first: Floats, second: Floats) -> float:
    first, second = first - first.mean(), second - second.mean()
    scale = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return float((first * second).sum()) / scale if scale > 0 else 0.0  # 0: one is constant
