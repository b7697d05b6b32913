"""Warn of a doubtful recording: bad leads, contradicting leads, a wrong unit or frequency, hardly an ECG.

Warnings change neither the signal nor the answer. The limits were chosen on PTB-XL so that few good recordings get one;
docs/reliability.md has the rates for good and bad recordings.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from leadwise.ecg.header import MILLIVOLTS
from leadwise.ecg.heart_rate import beats_in_envelope
from leadwise.ecg.lead_names import parse_lead_names
from leadwise.ecg.leads import LONG, STANDARD_LEADS, lead_by_lead, standard_leads
from leadwise.ecg.limb_leads import contradicting_leads, identical_leads, likely_exchange
from leadwise.ecg.plausibility import (
    fitting_frequency,
    is_doubtful,
    likely_unit,
    size_samples,
    typical_size,
    wave_times,
)
from leadwise.ecg.recording import Recording
from leadwise.ecg.repairs import Repair
from leadwise.ecg.resampling import resample_polyphase
from leadwise.util.arrays import median

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]
QUALITY_WARNINGS: Final[dict[str, str]] = {
    "flat": "a lead of the file has one value throughout, or moves by less than 0.1 mV",
    "cut-off": "a lead remains at its highest or lowest value for 0.12 s, as if saturated",
    "loose": "a lead wanders by more than 6 mV or goes more than 10 mV from its median, as under a loose electrode",
    "noisy": "a lead has noise of more than 0.12 mV (in its second differences at 125 Hz)",
    "no-beats": "a lead does not show the beats that the other leads show",
    "leads-missing": "the file lacks leads that cannot be computed",
    "leads-computed": "the file lacks leads that are computed from its others",
    "leads-by-position": "no lead has a standard name; the standard order is assumed",
    "leads-contradict": "limb leads of the file contradict Einthoven's or Goldberger's equations: wrong names or order",
    "leads-identical": "leads of the file are equal, or all leads have the same shape",
    "limb-leads-swapped": "limb leads contradict the chest leads, and fit if two electrodes are exchanged",
    "unit": "the typical size of the samples is below 0.001 or above 5 mV: the file probably has another unit",
    "short": "the recording is shorter than 5 s or than two beats",
    "rate": "the heart rate is below 25 or above 250 a minute",
    "sampling-frequency": "RR interval, QRS and T wave fit another sampling frequency than the declared one",
    "hardly-an-ecg": "the leads' beats do not agree or hardly stand out, or half of the leads are flat or loose",
}
_WORDS: Final[dict[str, str]] = {
    "flat": "{leads} {are} flat",
    "cut-off": "{leads} {are} cut off at the largest values",
    "loose": "{leads} swing{s} by many millivolts, as under a loose electrode",
    "noisy": "{leads} {are} noisy",
    "no-beats": "{leads} show{s} no beats",
    "leads-missing": "{leads} {are} missing",
    "leads-computed": "{leads} {are} not in the file and computed from other leads",
    "leads-by-position": "no lead has a standard name; the standard order is assumed",
    "leads-contradict": "{leads} contradict{s} Einthoven's equations: wrong names or order",
    "leads-identical": "{leads} have the same signal as another lead",
    "limb-leads-swapped": "limb leads look swapped: electrodes of {detail}, or dextrocardia",
    "unit": "the unit looks wrong: {detail}",
    "short": "too short for a reliable answer: {detail}",
    "rate": "implausible heart rate: {detail} beats a minute",
    "sampling-frequency": "the sampling frequency looks wrong: {detail}",
    "hardly-an-ecg": "hardly an ECG: {detail}",
}
_UNITS: Final = {"V": "volts", "uV": "microvolts or ADC counts", "ADC counts": "ADC counts"}
RATE = 125.0  # Hz: enough for beats and most noise; a lower sampling frequency is kept
MIN_SECONDS = 2.0  # shorter recordings are not checked for beats
SHORT_SECONDS = 5.0
WHOLE_SECONDS = 60.0  # of longer recordings, stretches are examined; a defect counts if most of them show it
STRETCHES, STRETCH_SECONDS = 5, 10.0
MAX_GAP = 0.1  # share of interpolated samples with which a lead can still be compared with others
MIN_RANGE = 0.1  # mV between the 0.5th and the 99.5th percentile; PTB-XL's lowest lead has 0.15
MAX_STAY = 0.12  # s in a row at the lead's own extreme
MAX_WANDER = 6.0  # mV between highest and lowest mean over 0.6 s
MAX_SWING = 10.0  # mV from the median
MAX_NOISE = 0.12  # mV
MIN_AGREEMENT = 0.25  # correlation of a lead's beats with those of all
MIN_COMMON_AGREEMENT = 0.85  # the same for half of the leads
MIN_SHARPNESS = 3.0  # of the common beats: 97th percentile over median of their size
MIN_BEAT = 0.05  # mV: smaller activity is not scaled up to the size of other leads' beats
LINE_SHARE, LINE_WIDTH = 0.7, 1.0  # of the power about the strongest frequency, Hz: an oscillation
MAINS = (50.0, 60.0)  # Hz
NOISE_FREQUENCY = 0.2  # root mean square frequency over sampling frequency; white noise has 0.27, an ECG 0.1
HEART_RATES = (25.0, 250.0)  # beats a minute


@dataclass(frozen=True)
class QualityWarning:
    """Hold a name from `QUALITY_WARNINGS`, the leads concerned (none: the whole recording) and what else is known;
    str() gives a sentence."""

    name: str
    leads: tuple[str, ...] = ()
    detail: str = ""

    def __str__(self) -> str:
        several = len(self.leads) > 1
        leads = ", ".join(self.leads[:-1]) + " and " + self.leads[-1] if several else "".join(self.leads)
        are, s = ("are", "") if several else ("is", "s")
        return _WORDS[self.name].format(leads=leads, are=are, s=s, detail=self.detail)


@dataclass(frozen=True)
class _FileLeads:
    """Tell what the file has of each standard lead, each (12,)."""

    constant: Booleans  # one value throughout or no value: derived or zero in the signal
    saturated: Booleans
    present: Booleans  # in the file, and neither of these
    complete: Booleans  # present, and with few interpolated samples


def quality_warnings(recording: Recording) -> tuple[QualityWarning, ...]:
    """Return the warnings on a recording, in the order of `QUALITY_WARNINGS`: none for a good one. Leads that the file
    does not have are named, and otherwise left out. Raises RecordingError if no lead can be used."""
    frequency, samples = recording.sampling_frequency, recording.counts.shape[1]
    repairs, (spread, *stretches) = _examined_parts(recording)
    leads = _file_leads(repairs, samples)
    found = [*_lead_list_warnings(repairs, leads)]
    seconds = samples / frequency
    if seconds < SHORT_SECONDS:
        found.append(QualityWarning("short", detail=f"{seconds:.3g} s"))
    scale, unit_warnings = _unit(spread[leads.complete])
    if seconds < MIN_SECONDS:
        stretches = []
    examined = [[*_examine(part * scale, frequency, leads)] for part in stretches]
    return _in_order([*found, *unit_warnings, *_in_most(examined)])


def _examined_parts(recording: Recording) -> tuple[tuple[Repair, ...], list[NDArray[np.float32]]]:
    """Return the repairs of the standard leads and the parts (12, samples) in mV that are examined: samples from the
    whole recording, then the whole signal, or evenly spread stretches of a long one."""
    frequency, samples = recording.sampling_frequency, recording.counts.shape[1]
    parts = [size_samples(samples)]
    if samples <= WHOLE_SECONDS * frequency:
        parts.append(slice(None))
    else:
        length = round(STRETCH_SECONDS * frequency)
        starts = np.linspace(0, samples - length, STRETCHES).astype(np.intp)
        parts += [slice(start, start + length) for start in starts.tolist()]
    if samples < LONG:
        signal = standard_leads(recording, "mV")
        return signal.repairs, [signal.values[:, part] for part in parts]
    repairs, leads = lead_by_lead(recording, "mV")
    rows = [[lead[0, part].copy() for part in parts] for lead in leads]
    return repairs, [np.stack(part) for part in zip(*rows, strict=True)]


def _file_leads(repairs: Sequence[Repair], samples: int) -> _FileLeads:
    constant = _repaired(repairs, "lead-flat", "lead-without-values")
    saturated = _repaired(repairs, "lead-saturated")
    present = ~_repaired(repairs, "lead-missing", "lead-derived") & ~constant & ~saturated
    gaps = np.zeros(len(STANDARD_LEADS), bool)
    for repair in repairs:
        if repair.name == "samples-interpolated":
            for number, lead in re.findall(r"(\d+) of ('[^']*')", repair.detail):
                if int(number) > MAX_GAP * samples:
                    gaps |= _named([lead])
    return _FileLeads(constant, saturated, present, present & ~gaps)


def _repaired(repairs: Sequence[Repair], *names: str) -> Booleans:
    """Return which of the standard leads, (12,), have one of the repairs."""
    return _named(lead for each in repairs if each.name in names for lead in each.detail.split(", "))


def _named(leads: Iterable[str]) -> Booleans:
    found = {name.lead for name in parse_lead_names([lead.strip("'") for lead in leads])}
    return np.array([lead in found for lead in STANDARD_LEADS])


def _lead_list_warnings(repairs: Sequence[Repair], leads: _FileLeads) -> Iterator[QualityWarning]:
    """Warn of leads without values in the file, of leads that it lacks, and of leads without names."""
    unusable = leads.constant | leads.saturated
    yield from _lead_warnings("flat", leads.constant)
    yield from _lead_warnings("cut-off", leads.saturated)
    yield from _lead_warnings("leads-missing", _repaired(repairs, "lead-missing") & ~unusable)
    yield from _lead_warnings("leads-computed", _repaired(repairs, "lead-derived") & ~unusable)
    if any(repair.name == "leads-by-position" for repair in repairs):
        yield QualityWarning("leads-by-position")


def _lead_warnings(name: str, leads: Booleans) -> Iterator[QualityWarning]:
    """Return a warning for each of the standard leads, (12,)."""
    return (QualityWarning(name, (STANDARD_LEADS[lead],)) for lead in np.flatnonzero(leads))


def _in_order(found: Iterable[QualityWarning]) -> tuple[QualityWarning, ...]:
    """Return one warning for each name, with all its leads."""
    merged: dict[str, QualityWarning] = {}
    for each in found:
        leads = {*each.leads, *(merged[each.name].leads if each.name in merged else ())}
        merged[each.name] = QualityWarning(each.name, tuple(sorted(leads, key=STANDARD_LEADS.index)), each.detail)
    return tuple(merged[name] for name in QUALITY_WARNINGS if name in merged)


def _unit(values: NDArray[np.float32]) -> tuple[float, list[QualityWarning]]:
    """Return what makes mV of the samples (leads, samples) if their unit looks wrong, and the warning."""
    size = typical_size(values) if len(values) else 0.0
    unit = likely_unit(size)
    if unit is None:
        return 1.0, []
    detail = f"the samples look like {_UNITS[unit]}, since their typical size would be {size:.2g} mV"
    return MILLIVOLTS.get(unit, 1.0), [QualityWarning("unit", detail=detail)]


def _in_most(stretches: list[list[QualityWarning]]) -> list[QualityWarning]:
    """Return what most of the stretches show, with the first one's detail."""
    votes = Counter((each.name, each.leads) for found in stretches for each in found)
    first = {(each.name, each.leads): each for found in reversed(stretches) for each in found}
    return [first[key] for key, count in votes.items() if 2 * count > len(stretches)]


@dataclass(frozen=True)
class _Stretch:
    """One stretch of a recording and the state of its leads, each (12,)."""

    values: NDArray[np.float32]  # (12, samples), mV
    frequency: float
    coarse: Floats  # the same at `rate`, without each lead's median
    rate: float
    good: Booleans  # with a signal and complete: can be compared with others
    flat: Booleans
    loose: Booleans
    cut_off: Booleans


def _examine(values: NDArray[np.float32], frequency: float, leads: _FileLeads) -> Iterator[QualityWarning]:
    """Warn of what one stretch (12, samples) in mV shows."""
    rate = min(frequency, RATE)
    coarse = resample_polyphase(values, frequency, rate).astype(np.float64)
    low, middle, high = _quantiles(coarse, (0.005, 0.5, 0.995))
    coarse -= middle
    moving = leads.present & (high - low >= MIN_RANGE)[:, 0]
    slow = _moving_mean(coarse, round(0.6 * rate))
    loose = moving & ((np.ptp(slow, axis=1) > MAX_WANDER) | (np.abs(coarse).max(axis=1) > MAX_SWING))
    cut_off = moving & _stays(values, MAX_STAY * frequency)
    noise = median(np.abs(np.diff(coarse, 2, axis=1)), axis=1)[:, 0] / 0.6745
    yield from _lead_warnings("flat", leads.present & ~moving)
    yield from _lead_warnings("cut-off", cut_off)
    yield from _lead_warnings("loose", loose)
    yield from _lead_warnings("noisy", moving & (noise > MAX_NOISE))
    flat = leads.constant | (leads.present & ~moving)
    stretch = _Stretch(values, frequency, coarse, rate, moving & leads.complete, flat, loose, cut_off)
    if stretch.good.any():
        yield from _compare(stretch)
    elif not leads.present.any() or leads.complete.any():
        yield QualityWarning("hardly-an-ecg", detail="all leads are flat")


def _quantiles(values: Floats, shares: Sequence[float]) -> list[Floats]:
    """Return (12, 1) for each share: the nearest sample, which takes a third of the time of interpolating."""
    at = [round(share * (values.shape[1] - 1)) for share in shares]
    ordered = np.partition(values, at[0], axis=1) if len(at) == 1 else np.sort(values, axis=1)  # the faster one
    return [ordered[:, [index]] for index in at]


def _moving_mean(values: Floats, width: int) -> Floats:
    return np.asarray(uniform_filter1d(values, width, axis=1, mode="nearest"))


def _stays(values: NDArray[np.float32], samples: float) -> Booleans:
    """Return which leads, (12,), have so many samples in a row at their own highest or lowest value."""
    staying = np.zeros(len(values), bool)
    for extreme in (values.max(axis=1, keepdims=True), values.min(axis=1, keepdims=True)):
        at_extreme = values == extreme
        for lead in np.flatnonzero(at_extreme.sum(axis=1) >= samples):
            edges = np.flatnonzero(np.diff(at_extreme[lead], prepend=False, append=False))
            staying[lead] |= np.diff(edges)[::2].max() >= samples
    return staying


def _compare(stretch: _Stretch) -> Iterator[QualityWarning]:
    """Warn of what the leads show together."""
    rate, good = stretch.rate, stretch.good
    quick = _moving_mean(stretch.coarse, 3) - _moving_mean(stretch.coarse, max(round(0.12 * rate), 5))  # mostly QRS
    sizes = _moving_mean(np.abs(quick), max(round(0.1 * rate), 1))  # (12, samples)
    sizes /= np.maximum(_quantiles(sizes, (0.97,))[0], MIN_BEAT)
    envelope = median(sizes[good], axis=0)[0]
    agreement = _correlations(sizes, envelope)
    silent = good & (agreement < MIN_AGREEMENT)
    yield from _lead_warnings("no-beats", silent)
    covariance = quick @ quick.T / quick.shape[1]
    yield from _relations(covariance, good & ~stretch.loose & ~stretch.cut_off, silent)
    compared = good | stretch.flat
    shared = float(np.median(np.where(good, agreement, 0)[compared]))
    bad = stretch.flat | stretch.loose
    doubt = _doubt(stretch, envelope, shared)
    beats = beats_in_envelope(envelope, rate)
    clear = good & ~bad & ~silent
    timing = [*_timing(stretch, clear if clear.any() else good, beats, bool(doubt))]
    yield from timing
    if 2 * bad.sum() >= (good | bad).sum():
        yield QualityWarning("hardly-an-ecg", detail="half of the leads are flat or loose")
    elif doubt and not timing:
        yield QualityWarning("hardly-an-ecg", detail=doubt)


def _correlations(rows: Floats, other: Floats) -> Floats:
    """Return the correlation of each row with another signal; 0 if one is constant."""
    rows, other = rows - rows.mean(axis=1, keepdims=True), other - other.mean()
    scale = np.sqrt((rows**2).sum(axis=1) * (other**2).sum())
    correlations: Floats = np.divide(rows @ other, scale, out=np.zeros(len(rows)), where=scale > 0)
    return correlations


def _relations(covariance: Floats, usable: Booleans, silent: Booleans) -> Iterator[QualityWarning]:
    """Warn of leads that contradict, repeat or exchange one another."""
    contradicting = contradicting_leads(covariance, usable)
    yield from _lead_warnings("leads-contradict", contradicting)
    yield from _lead_warnings("leads-identical", identical_leads(covariance, usable))
    electrodes = likely_exchange(covariance, usable & ~silent & ~contradicting)
    if electrodes:
        yield QualityWarning("limb-leads-swapped", detail=electrodes)


def _doubt(stretch: _Stretch, envelope: Floats, shared: float) -> str:
    """Return why the signal is hardly an ECG, "" if it is one. `shared`: the agreement of half of the leads."""
    if shared >= MIN_COMMON_AGREEMENT and np.quantile(envelope, 0.97) >= MIN_SHARPNESS * np.median(envelope):
        return ""
    spectrum = np.abs(np.fft.rfft(stretch.coarse[stretch.good], axis=1)) ** 2
    spectrum = (spectrum / np.maximum(spectrum.sum(axis=1, keepdims=True), 1e-12)).mean(axis=0)
    frequencies = np.fft.rfftfreq(stretch.coarse.shape[1], 1 / stretch.rate)
    strongest = frequencies[spectrum.argmax()]
    if spectrum[np.abs(frequencies - strongest) <= LINE_WIDTH].sum() > LINE_SHARE:
        hum = min(abs(strongest - mains) for mains in MAINS) <= LINE_WIDTH
        return f"{'mains hum' if hum else 'an oscillation'} of {strongest:.3g} Hz alone"
    if (spectrum * frequencies**2).sum() > (NOISE_FREQUENCY * stretch.rate) ** 2:
        return "noise without beats"
    return "the leads show no common beats" if shared < MIN_COMMON_AGREEMENT else "no beats stand out"


def _timing(stretch: _Stretch, clear: Booleans, beats: Floats, doubtful: bool) -> Iterator[QualityWarning]:
    """Warn of an implausible heart rate or sampling frequency, and of fewer than two beats."""
    values = stretch.values[clear]
    times = wave_times(values, stretch.frequency, beats)
    rate = 60 * (len(beats) - 1) / (beats[-1] - beats[0]) if len(beats) > 1 else None
    fitting = fitting_frequency(values, stretch.frequency, times) if doubtful or is_doubtful(times) else None
    if fitting is not None:
        frequency, rate = fitting
        detail = f"the waves fit about {frequency:g} Hz, not the declared {stretch.frequency:g} Hz"
        yield QualityWarning("sampling-frequency", detail=detail)
    if rate is not None and not HEART_RATES[0] <= rate <= HEART_RATES[1] and (fitting or not doubtful):
        yield QualityWarning("rate", detail=f"{rate:.0f}")
    seconds = stretch.values.shape[1] / stretch.frequency
    if len(beats) < 2 and not (doubtful or fitting) and seconds >= SHORT_SECONDS:
        yield QualityWarning("short", detail=f"fewer than two clear beats in {seconds:.3g} s")
