"""Remarks on a recording's quality: flat, cut off, loose or noisy leads, swapped limb leads, what is hardly an ECG.

They tell and change nothing: neither a signal nor an answer depends on them. Their limits were chosen on PTB-XL, so
that few good recordings are remarked on; docs/reliability.md says how many are, and how many bad ones. NumPy alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from leadwise.ecg.leads import STANDARD_LEADS, standard_leads
from leadwise.ecg.recording import Recording
from leadwise.ecg.repairs import Repair
from leadwise.ecg.resampling import resample_polyphase

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]

QUALITY_WARNINGS: Mapping[str, str] = MappingProxyType(
    {
        "flat": "a lead of the file has one value throughout, or moves by less than 0.1 mV",
        "cut-off": "a lead stands at its highest or lowest value for a tenth of a second at a time, as if saturated",
        "loose": "a lead wanders by more than 5 mV or goes more than 8 mV from its median, as under a loose electrode",
        "noisy": "a lead has noise of more than 0.12 mV (in its second differences at 125 Hz)",
        "no-beats": "a lead does not show the beats that the other leads show",
        "limb-leads-swapped": "lead I is the opposite of V6, or aVR is like V6, where the limb leads are good",
        "hardly-an-ecg": "the leads' beats do not agree or hardly stand out, or half of the leads are flat or loose",
    }
)
_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "flat": "{leads} {are} flat",
        "cut-off": "{leads} {are} cut off at the largest values",
        "loose": "{leads} swing{s} by many millivolts, as under a loose electrode",
        "noisy": "{leads} {are} noisy",
        "no-beats": "{leads} show{s} no beats",
        "limb-leads-swapped": "limb leads look swapped",
        "hardly-an-ecg": "hardly an ECG",
    }
)

RATE = 125.0  # Hz: enough for beats and for most noise, and quickly done; a lower rate stays
SHORTEST = 2.0  # s: below it only flat and saturated leads are remarked on
FLAT = 0.1  # mV between the 0.5th and the 99.5th percentile; PTB-XL's lowest lead has 0.15
CUT_OFF = 0.1  # s in a row at the lead's own extreme
WANDER = 5.0  # mV between highest and lowest mean over 0.6 s
SWING = 8.0  # mV from the median
NOISE = 0.12  # mV
AGREEMENT = 0.3  # correlation of a lead's beats with those of all
COMMON_AGREEMENT = 0.85  # the same of half of the leads
SHARPNESS = 3.0  # of the common beats: 97th percentile over median of their size
BEAT = 0.05  # mV: what is smaller in a lead is not made as large as others' beats
OPPOSITE = -0.4  # correlation of I and V6
ALIKE = 0.3  # correlation of aVR and V6


@dataclass(frozen=True)
class QualityWarning:
    """Something doubtful: a name from `REMARKS`, and the leads that it is about (none where it is about all)."""

    name: str
    leads: tuple[str, ...] = ()

    def __str__(self) -> str:
        """In words: "V2 is flat", "V1 and V2 are flat", "limb leads look swapped"."""
        several = len(self.leads) > 1
        leads = ", ".join(self.leads[:-1]) + " and " + self.leads[-1] if several else "".join(self.leads)
        return _WORDS[self.name].format(leads=leads, are="are" if several else "is", s="" if several else "s")


def quality_warnings(recording: Recording) -> tuple[QualityWarning, ...]:
    """What is to be said of a recording's quality; nothing of one that looks good.

    Leads that the file does not have are not remarked on. Raises RecordingError where no lead can be used.
    """
    signal = standard_leads(recording, "mV")
    still = _named(signal.repairs, "lead-flat", "lead-without-values")  # (12,): derived or zero in `values`
    saturated = _named(signal.repairs, "lead-saturated")
    if signal.values.shape[1] < SHORTEST * signal.sampling_frequency:
        return _remarks({"flat": still, "cut-off": saturated})
    there = ~_named(signal.repairs, "lead-missing", "lead-derived") & ~still & ~saturated
    values, rate = _at_low_rate(signal.values, signal.sampling_frequency)
    slow = _moving_mean(values, round(0.6 * rate))

    flat = np.quantile(values, 0.995, axis=1) - np.quantile(values, 0.005, axis=1) < FLAT
    good = there & ~flat
    found = {
        "flat": still | (there & flat),
        "cut-off": saturated | (good & (_longest_stay(signal.values) >= CUT_OFF * signal.sampling_frequency)),
        "loose": good & ((np.ptp(slow, axis=1) > WANDER) | (np.abs(values).max(axis=1) > SWING)),
        "noisy": good & (np.median(np.abs(np.diff(values, 2, axis=1)), axis=1) / 0.6745 > NOISE),
    }
    whole = _from_beats(values, rate, good, found)
    return (*_remarks(found), *(QualityWarning(name) for name in whole))


def _remarks(found: Mapping[str, Booleans]) -> tuple[QualityWarning, ...]:
    """One remark a name, with the leads (12,) that it was found in; none where it was found in no lead."""
    named = [QualityWarning(name, tuple(np.array(STANDARD_LEADS)[leads].tolist())) for name, leads in found.items()]
    return tuple(remark for remark in named if remark.leads)


def _named(repairs: Sequence[Repair], *names: str) -> Booleans:
    """(12,): the standard leads that the details of some repairs name."""
    details = [repair.detail for repair in repairs if repair.name in names]
    leads = {lead.strip("'").lower() for detail in details for lead in detail.split(", ")}
    return np.array([lead.lower() in leads for lead in STANDARD_LEADS])


def _at_low_rate(values: NDArray[np.float32], rate: float) -> tuple[Floats, float]:
    """(12, samples) about their medians at 125 Hz, or at a lower rate that they have."""
    if rate > RATE:
        values, rate = resample_polyphase(values, rate, RATE), RATE
    low = values.astype(np.float64)
    return low - np.median(low, axis=1, keepdims=True), rate


def _moving_mean(values: Floats, width: int) -> Floats:
    """The mean of `width` samples about each, the ends repeated."""
    padded = np.pad(values, ((0, 0), (width // 2 + 1, width - width // 2 - 1)), mode="edge")
    sums = np.cumsum(padded, axis=1)
    return (sums[:, width:] - sums[:, :-width]) / width


def _longest_stay(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """(12,): the most samples in a row at a lead's own highest or lowest value."""
    longest = np.zeros(len(values), np.int64)
    for extreme in (values.max(axis=1, keepdims=True), values.min(axis=1, keepdims=True)):
        for lead, row in enumerate(values == extreme):
            edges = np.flatnonzero(np.diff(row, prepend=False, append=False))
            longest[lead] = max(longest[lead], np.diff(edges)[::2].max())
    return longest


def _from_beats(values: Floats, rate: float, good: Booleans, found: dict[str, Booleans]) -> list[str]:
    """Remarks about the whole recording, and into `found` the leads without beats."""
    quick = _moving_mean(values, 3) - _moving_mean(values, round(0.12 * rate))  # QRS complexes are what is left
    sizes = _moving_mean(np.abs(quick), round(0.1 * rate))  # (12, samples)
    sizes /= np.maximum(np.quantile(sizes, 0.97, axis=1, keepdims=True), BEAT)
    beats = np.median(sizes[good], axis=0) if good.any() else np.zeros(sizes.shape[1])
    agreement = np.array([_correlation(lead, beats) for lead in sizes])
    found["no-beats"] = good & (agreement < AGREEMENT)
    bad = found["flat"] | found["loose"]
    none = np.median(np.where(good, agreement, 0)[good | found["flat"]]) < COMMON_AGREEMENT if good.any() else True
    blurred = np.quantile(beats, 0.97) < SHARPNESS * np.median(beats)
    whole = []
    i, avr, v6 = (STANDARD_LEADS.index(lead) for lead in ("I", "aVR", "V6"))
    usable = good & ~bad & ~found["no-beats"]
    opposite = usable[[i, v6]].all() and _correlation(quick[i], quick[v6]) < OPPOSITE
    alike = usable[[avr, v6]].all() and _correlation(quick[avr], quick[v6]) > ALIKE
    if opposite or alike:
        whole.append("limb-leads-swapped")
    if none or blurred or 2 * bad.sum() >= (good | bad).sum():
        whole.append("hardly-an-ecg")
    return whole


def _correlation(first: Floats, second: Floats) -> float:
    """Of two signals; 0 where one is constant."""
    first, second = first - first.mean(), second - second.mean()
    scale = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return float((first * second).sum()) / scale if scale > 0 else 0.0
