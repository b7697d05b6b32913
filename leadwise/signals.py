"""Leads, units, resampling and windows: from a `Recording` to the 12 leads that a recipe wants.

Arrays in, arrays out, no torch. This file knows neither files nor labels: what a header or a signal file says is
`recording.py`'s to find out, what a number of a method is stands in `recipes.py`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from leadwise.header import Header, LeadHeader, Notes, RecordingError, Repair, quote
from leadwise.recipes import SignalRecipe
from leadwise.recording import Recording

STANDARD_LEADS: tuple[str, ...] = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")

SIGNAL_REPAIRS: Mapping[str, str] = MappingProxyType(
    {
        "leads-reordered": "the leads are in another than the standard order: put into it by their names",
        "leads-by-position": "none of the twelve leads has a standard name: taken in standard order as they stand",
        "lead-ignored": "a lead whose name is none of the standard twelve is left out",
        "lead-repeated": "of leads with the same name the first one counts",
        "lead-derived": "a missing limb lead is computed from I and II",
        "lead-missing": "a missing lead that cannot be computed is zero throughout",
        "samples-interpolated": "samples that are NaN or beyond 32 bits are interpolated from the lead's others",
        "no-value": "runs of WFDB's number for no value (-32768 in 16 bits) begun and ended by a jump become NaN",
        "lead-without-values": "a lead in which no sample is a number is taken as missing",
        "lead-flat": "a lead that has one value throughout, whichever, is taken as missing",
        "lead-saturated": "a lead with more than half of its samples at the ends of 16 bits is taken as missing",
    }
)

# What (I, II) weigh in each lead that they determine: Einthoven's and Goldberger's equations.
DERIVED_LEADS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"III": (-1.0, 1.0), "aVR": (-0.5, -0.5), "aVL": (1.0, -0.5), "aVF": (-0.5, 1.0)}
)

# WFDB's number for "no value" in each of its formats (signal(5)); in MATLAB files it is the one of 16 bits.
NO_VALUE: Mapping[str, int] = MappingProxyType(
    {"16": -(1 << 15), "61": -(1 << 15), "160": -(1 << 15), "24": -(1 << 23), "32": -(1 << 31), "80": -(1 << 7)}
    | {"212": -(1 << 11), "310": -(1 << 9), "311": -(1 << 9), "508": -(1 << 7), "516": -(1 << 15), "524": -(1 << 23)}
)
NO_VALUE_JUMP = 4  # a run that begins and ends by a jump of a quarter of that number (8 mV at 1000 per mV) is none
MAX_COUNT = 1 << 31  # no converter has more than 32 bits; larger numbers would overflow in the networks
ADC_ENDS = (-(1 << 15), (1 << 15) - 1)  # counts
SATURATED_SHARE = 0.5  # of a lead's samples: beyond it nothing is left to see between the ends of the range

USUAL_SCALE = 0.2  # mV; about the root mean square of an ECG between 0.5 and 40 Hz over its leads
LARGEST = 50.0  # times the scale; beyond it nothing is of the heart

ZERO_CROSSINGS = 16  # of the resampling filter's sinc, to each side
CUTOFF = 0.47  # of the lower of the two sampling frequencies; half amplitude there, stop band from 0.53
KAISER_BETA = 5.65  # 60 dB
LARGEST_PATTERN = 1 << 16  # phases times half width: up to here all phases of a pair of frequencies are kept, in 2 MB
BLOCK = 64  # target samples in one matrix product; more or fewer were slower at 500 Hz
PHASES = 2048  # of the filter in a sample of the lower frequency, where a pair of frequencies has too many of its own
GATHERED_ELEMENTS = 1 << 18  # source samples a lead that are gathered at once on that path

Float32 = NDArray[np.float32]
_SPELLINGS = {name.lower(): name for name in STANDARD_LEADS}


@dataclass(frozen=True, eq=False)
class Signal:
    """Twelve leads in standard order: values (12, samples) in mV or ADC counts, sampling frequency in Hz.

    `repairs` are those that this file made (names from `SIGNAL_REPAIRS`); the recording has its own. Where a recipe
    asks for it the values are divided by `scale`, their root mean square.
    """

    values: Float32
    sampling_frequency: float
    repairs: tuple[Repair, ...] = ()
    scale: float | None = None


def prepare(recording: Recording, recipe: SignalRecipe) -> Signal:
    """The network's input of a recording: standard leads in the recipe's unit, at its sampling frequency.

    Values (12, floor(samples * target / sampling frequency)). Raises RecordingError where no lead can be used, where
    fewer than two samples are there or none would be left.
    """
    frequency, samples = recording.sampling_frequency, recording.counts.shape[1]
    if samples < 2 or resampled_length(samples, frequency, recipe.sampling_frequency) < 1:
        raise RecordingError(recording.name, f"too short: {samples} samples at {frequency:g} Hz")
    signal = standard_leads(recording, recipe.unit)
    resample = {"linear": resample_linear, "polyphase": resample_polyphase}[recipe.resampling]
    values = resample(signal.values, frequency, recipe.sampling_frequency)
    if recipe.band is not None:
        values = band_pass(values, recipe.sampling_frequency, recipe.band)
    if recipe.scale == "none":
        return Signal(values, float(recipe.sampling_frequency), signal.repairs)
    values, scale = scaled(values)
    return Signal(values, float(recipe.sampling_frequency), signal.repairs, scale)


def standard_leads(recording: Recording, unit: Literal["counts", "mV"]) -> Signal:
    """The twelve standard leads of a recording, float32 (12, samples), whatever leads the file has in what order.

    Limb leads that are missing are computed from I and II (in the unit asked for), other missing ones are zero; a lead
    that is flat, saturated or without values is as good as missing; samples that are no numbers are interpolated. Each
    of these is a named repair. Raises RecordingError without a usable lead.
    """
    if unit not in ("counts", "mV"):
        raise ValueError(f"unit {unit!r} is neither 'counts' nor 'mV'")
    recording = replace(recording, counts=np.ascontiguousarray(recording.counts))  # each step goes along a lead
    names, notes = recording.lead_names, Notes()
    values = _without_marks(_converted(recording, unit), recording, notes)
    if values.dtype == np.float64:  # only then can a sample be no number
        values = _without_gaps(values, recording, notes).astype(np.float32)
    empty = _empty_leads(values, recording, notes)
    if names != STANDARD_LEADS or empty:
        rows = _standard_rows(recording.name, names, notes)
        if empty.issuperset(rows.values()):
            without = len(notes.get("lead-without-values", ())) == len(names)
            raise RecordingError(recording.name, "no sample is a number" if without else "is flat in every lead")
        values = _in_standard_order(values, {name: row for name, row in rows.items() if row not in empty}, notes)
    return Signal(values, recording.sampling_frequency, notes.repairs())


def _without_marks(values: NDArray[Any], recording: Recording, notes: Notes) -> NDArray[Any]:
    """The same leads with NaN where the counts are WFDB's number for no value, float64 where there is such a run."""
    marks = np.array([_no_value(lead) for lead in recording.header.leads])
    for lead in np.flatnonzero(_lowest(recording.counts) <= marks).tolist():  # there is no lower one: next to no lead
        for first, end in _runs_without_value(recording.counts[lead], int(marks[lead])):
            values = values.astype(np.float64, copy=False)
            values[lead, first:end] = np.nan
            notes.add("no-value", f"{end - first} of {quote(recording.lead_names[lead])}")
    return values


def _lowest(counts: NDArray[Any]) -> NDArray[Any]:
    """The lowest number of each lead, (leads,); NaN only where there is none."""
    lowest: NDArray[Any] = counts.min(axis=1) if counts.dtype.kind == "i" else np.fmin.reduce(counts, axis=1)
    return lowest


def _no_value(lead: LeadHeader) -> int:
    """The count that means no value in this lead."""
    code = "16" if lead.file[-4:].lower() == ".mat" else re.split("[x:+]", lead.format)[0]
    return NO_VALUE.get(code, NO_VALUE["16"])


def _runs_without_value(row: NDArray[Any], mark: int) -> list[tuple[int, int]]:
    """First and end of the runs of `mark` that begin and end by a jump; an honest saturation is reached in steps."""
    edges = np.flatnonzero(np.diff(row == mark, prepend=False, append=False)).reshape(-1, 2)  # (runs, 2)
    near = mark - mark / NO_VALUE_JUMP
    runs = []
    for first, end in edges.tolist():
        before, after = row[max(first - 1, 0)], row[min(end, len(row) - 1)]  # the mark itself at the recording's ends
        if all(value == mark or not value < near for value in (before, after)):
            runs.append((first, end))
    return runs


def _empty_leads(values: NDArray[Any], recording: Recording, notes: Notes) -> set[int]:
    """The rows of leads that say nothing: one value throughout, or most of the time at an end of the ADC's range."""
    names, counts = recording.lead_names, recording.counts
    suspects = np.flatnonzero(values[:, 0] == values[:, values.shape[1] // 2])  # few leads need a look at each sample
    flat = {lead for lead in suspects.tolist() if (values[lead] == values[lead, 0]).all()}
    for name in [quote(names[lead]) for lead in sorted(flat)]:
        if name not in notes.get("lead-without-values", ()):
            notes.add("lead-flat", name)
    some = counts[:, :: max(counts.shape[1] // 64, 1)]  # half of a lead shows in an even spread of its samples
    suspects = np.flatnonzero(((some == ADC_ENDS[0]) | (some == ADC_ENDS[1])).any(axis=1))
    saturated = {lead for lead in suspects.tolist() if np.isin(counts[lead], ADC_ENDS).mean() > SATURATED_SHARE} - flat
    for lead in sorted(saturated):
        notes.add("lead-saturated", quote(names[lead]))
    return flat | saturated


def _converted(recording: Recording, unit: str) -> NDArray[Any]:
    """Counts or mV, (leads, samples): float32 where the counts are int16, which it holds exactly, otherwise float64."""
    counts = recording.counts
    precision = np.float32 if counts.dtype == np.int16 else np.float64
    values: NDArray[Any] = counts.astype(precision)
    if unit == "mV":
        baseline, gain = (row[:, None].astype(precision) for row in (recording.baseline, recording.adc_gain))
        with np.errstate(over="ignore"):  # becomes infinite, and is repaired as such
            np.divide(np.subtract(values, baseline, out=values), gain, out=values)
    return values


def _without_gaps(values: NDArray[np.float64], recording: Recording, notes: Notes) -> NDArray[np.float64]:
    """The same leads, interpolated where a sample is NaN or no possible count; zeros where a lead has no number."""
    names = recording.lead_names
    finite = np.abs(values) <= np.finfo(np.float32).max  # False for NaN too
    finite &= np.abs(recording.counts.astype(np.float64)) <= MAX_COUNT
    for lead in np.flatnonzero(~finite.all(axis=1)).tolist():
        good, bad = np.flatnonzero(finite[lead]), np.flatnonzero(~finite[lead])
        if good.size:
            values[lead, bad] = np.interp(bad, good, values[lead, good])
            notes.add("samples-interpolated", f"{bad.size} of {quote(names[lead])}")
        else:
            values[lead] = 0
            notes.add("lead-without-values", quote(names[lead]))
    return values


def _in_standard_order(values: NDArray[Any], rows: Mapping[str, int], notes: Notes) -> Float32:
    """Leads (any, samples), of which `rows` tells which is which, put into standard order and completed."""
    ordered = np.zeros((len(STANDARD_LEADS), values.shape[1]), np.float32)
    for lead, name in enumerate(STANDARD_LEADS):
        if name in rows:
            ordered[lead] = values[rows[name]]
        elif name in DERIVED_LEADS and "I" in rows and "II" in rows:
            of_i, of_ii = DERIVED_LEADS[name]
            ordered[lead] = of_i * ordered[0] + of_ii * ordered[1]
            notes.add("lead-derived", name)
        else:
            notes.add("lead-missing", name)
    return ordered


def _standard_rows(source: str, names: Sequence[str], notes: Notes) -> dict[str, int]:
    """Standard lead name -> row of the file, by name in any spelling; by position where all twelve are unknown."""
    rows: dict[str, int] = {}
    unknown = [name for name in names if name.strip().lower() not in _SPELLINGS]
    if len(unknown) == len(names) == len(STANDARD_LEADS):
        notes.add("leads-by-position", " ".join(map(quote, names)))
        return {name: row for row, name in enumerate(STANDARD_LEADS)}
    if len(unknown) == len(names):
        raise RecordingError(source, f"has no lead of a standard name, only {' '.join(map(quote, names)) or 'none'}")
    for row, name in enumerate(names):
        standard = _SPELLINGS.get(name.strip().lower())
        if standard is None:
            notes.add("lead-ignored", quote(name))
        elif rows.setdefault(standard, row) != row:
            notes.add("lead-repeated", standard)
    if list(rows) != sorted(rows, key=STANDARD_LEADS.index):
        notes.add("leads-reordered", " ".join(rows))
    return rows


def resampled_length(samples: int, sampling_frequency: float, target: float) -> int:
    """How many samples a recording has at another frequency: floor(samples * target / sampling_frequency), exactly."""
    ratio = _ratio(sampling_frequency, target)
    return samples * ratio.numerator // ratio.denominator


@lru_cache(maxsize=64)
def _ratio(sampling_frequency: float, target: float) -> Fraction:
    """Target over source frequency, of the decimals as they are written (257.3 is 2573/10, not its binary twin)."""
    if not (0 < sampling_frequency < math.inf and 0 < target < math.inf):
        raise ValueError(f"cannot resample from {sampling_frequency:g} Hz to {target:g} Hz")
    return Fraction(repr(float(target))) / Fraction(repr(float(sampling_frequency)))


def resample_linear(values: NDArray[Any], sampling_frequency: float, target: float) -> Float32:
    """Linear interpolation as published: (leads, L) to (leads, floor(L / sampling_frequency * target)), float32.

    The source's sample times are linspace(0, L, L) / sampling_frequency, the target's linspace(0, M, M) / target (end
    included), which stretches both by one part in L and M: the authors' program does so. No filter: what lies above
    half the target frequency folds back. Equal frequencies leave the values as they are.
    """
    signal = np.asarray(values, np.float32)
    if sampling_frequency == target:
        return signal
    left, weight = _linear_grid(signal.shape[-1], float(sampling_frequency), float(target))
    start = signal.take(left, axis=-1)
    result = signal.take(left + 1, axis=-1, mode="clip")  # the last sample has no neighbour, and weighs nothing
    result -= start
    result *= weight
    result += start
    return result


@lru_cache(maxsize=16)
def _linear_grid(samples: int, sampling_frequency: float, target: float) -> tuple[NDArray[np.intp], Float32]:
    """For each target sample: the source sample to its left and the weight of the one to its right (M,), (M,)."""
    length = resampled_length(samples, sampling_frequency, target)
    times = np.linspace(0, length, length) / target
    step = samples / max(samples - 1, 1) / sampling_frequency  # seconds between source samples
    position = np.clip(times / step, 0, samples - 1)
    left = position.astype(np.intp)
    return left, (position - left).astype(np.float32)


def resample_polyphase(values: NDArray[Any], sampling_frequency: float, target: float) -> Float32:
    """Anti-aliased resampling: (leads, L) to (leads, floor(L * target / sampling_frequency)), float32.

    Output sample k lies at time k / target. A Kaiser-windowed sinc (60 dB; Oppenheim and Schafer, section 7.6) passes
    what lies below 0.41 of the lower frequency and stops what lies above 0.53; each phase sums to one, and the signal
    is mirrored at its ends, so that an offset neither rings nor ripples. Any pair of frequencies is possible; few
    matrix products do it where their ratio is simple. Equal frequencies leave the values as they are.
    """
    if sampling_frequency == target:
        return np.asarray(values, np.float32)
    signal = np.atleast_2d(np.asarray(values, np.float32))
    ratio = _ratio(sampling_frequency, target)
    half = _half_width(ratio)
    if signal.shape[1] * ratio < 1:
        result = np.zeros((len(signal), 0), np.float32)
    elif ratio.numerator * half <= LARGEST_PATTERN:
        result = _by_frames(signal, ratio, half)
    else:
        result = _by_phases(signal, ratio, half)
    return result.reshape(*np.shape(values)[:-1], result.shape[1])


def _half_width(ratio: Fraction) -> int:
    """Source samples that the filter reaches to each side."""
    return math.ceil(ZERO_CROSSINGS / min(float(ratio), 1.0))


def _mirrored(signal: Float32, half: int, length: int) -> Float32:
    """The signal with `half - 1` mirrored samples before and `half` after it, then zeros: (leads, length)."""
    leads, samples = signal.shape
    period = max(2 * (samples - 1), 1)
    outside = np.concatenate([np.arange(1 - half, 0), np.arange(samples, samples + half)])
    inside = np.abs(outside) % period
    inside = np.minimum(inside, period - inside) if samples > 1 else inside  # as often as a short signal needs
    padded = np.zeros((leads, length), np.float32)
    padded[:, half - 1 : half - 1 + samples] = signal
    padded[:, outside + half - 1] = signal[:, inside]
    return padded


def _by_frames(signal: Float32, ratio: Fraction, half: int) -> Float32:
    """The whole pattern of phases as a few matrices: each frame of `down` source samples gives `up` target samples."""
    up, down = ratio.numerator, ratio.denominator
    leads, samples = signal.shape
    length = samples * up // down
    frames = -(-length // up)
    span = down + 2 * half - 1  # source samples that a frame's filters reach
    padded = _mirrored(signal, half, max(frames * down, samples) + 2 * half)
    strides = (padded.strides[0], down * padded.strides[1], padded.strides[1])
    windows = np.lib.stride_tricks.as_strided(padded, (leads, frames, span), strides, writeable=False)
    result = np.empty((leads * frames, up), np.float32)
    for start, first, weights in _frame_weights(ratio, half):
        part = windows[:, :, first : first + len(weights)].reshape(leads * frames, -1)  # a copy: frames overlap
        result[:, start : start + BLOCK] = part @ weights
    return np.ascontiguousarray(result.reshape(leads, frames * up)[:, :length])


@lru_cache(maxsize=8)
def _frame_weights(ratio: Fraction, half: int) -> tuple[tuple[int, int, Float32], ...]:
    """For each block of a frame: its first target sample, the first source sample, weights (source, target).

    Target sample k of a frame lies at source position k * down / up, and most weights of a frame would be zeros: in
    blocks of 64 the products take half the time that one for the whole frame takes.
    """
    up, down = ratio.numerator, ratio.denominator
    left, remainder = np.divmod(np.arange(up) * down, up)
    taps = _taps(remainder / up, half, ratio)
    blocks = []
    for start in range(0, up, BLOCK):
        row = left[start : start + BLOCK] - left[start]
        weights = np.zeros((row[-1] + 2 * half, len(row)), np.float32)
        np.put_along_axis(weights, row + np.arange(2 * half)[:, None], taps[start : start + BLOCK].T, axis=0)
        blocks.append((start, int(left[start]), weights))
    return tuple(blocks)


def _by_phases(signal: Float32, ratio: Fraction, half: int) -> Float32:
    """Any ratio: each target sample takes the filter of the nearest phase, part by part to bound the memory."""
    up, down = ratio.numerator, ratio.denominator
    leads, samples = signal.shape
    length = samples * up // down
    table = _phase_table(ratio, half)  # (phases + 1, 2 half)
    windows = np.lib.stride_tricks.sliding_window_view(_mirrored(signal, half, samples + 2 * half), 2 * half, axis=1)
    result = np.empty((leads, length), np.float32)
    at_once = max(GATHERED_ELEMENTS // (2 * half), 1)
    for start in range(0, length, at_once):
        position = np.arange(start, min(start + at_once, length)) * (down / up)
        left = position.astype(np.intp)
        phase = np.rint((position - left) * (len(table) - 1)).astype(np.intp)
        np.einsum("lkt,kt->lk", windows[:, left], table[phase], out=result[:, start : start + at_once])
    return result


@lru_cache(maxsize=8)
def _phase_table(ratio: Fraction, half: int) -> Float32:
    """(phases + 1, 2 half): the filter at each fraction of a source sample from 0 to 1, both included."""
    phases = math.ceil(PHASES * min(float(ratio), 1.0))
    return _taps(np.linspace(0, 1, phases + 1), half, ratio).astype(np.float32)


def _taps(fractions: NDArray[np.float64], half: int, ratio: Fraction) -> NDArray[np.float64]:
    """(fractions, 2 half) weights of source samples 1 - half .. half about positions 0 + fraction, each row's sum 1."""
    distance = np.arange(1 - half, half + 1) - fractions[:, None]
    cutoff = 2 * CUTOFF * min(float(ratio), 1.0)
    window = np.i0(KAISER_BETA * np.sqrt(np.clip(1 - (distance / half) ** 2, 0, None)))
    taps: NDArray[np.float64] = np.sinc(cutoff * distance) * window
    taps /= taps.sum(axis=1, keepdims=True)
    return taps


def band_pass(values: Float32, sampling_frequency: float, band: tuple[float, float]) -> Float32:
    """(leads, samples) without what lies outside of `band` (Hz): a Butterworth filter of second order, forward and
    backward, so that nothing moves in time. The signal is continued for a second at its ends, so that they do not ring.
    """
    from scipy.signal import butter, sosfiltfilt  # here: it takes its time, and the published recipe has no filter

    sections = butter(2, band, "bandpass", fs=sampling_frequency, output="sos")
    padding = min(values.shape[1] - 1, round(sampling_frequency))
    filtered: NDArray[np.float64] = sosfiltfilt(sections, values, axis=1, padlen=padding)
    return filtered.astype(np.float32)


def scaled(values: Float32) -> tuple[Float32, float]:
    """(leads, samples) in mV divided by their root mean square over the leads that are not zero, and that number (mV).

    A hundred times `USUAL_SCALE`, or a hundredth of it, is as far as it goes: what is larger or smaller is no ECG.
    """
    some = values[values.any(axis=1)]
    mean_square = float(np.mean(some.astype(np.float64) ** 2)) if some.size else 0.0
    scale = float(np.clip(math.sqrt(mean_square), USUAL_SCALE / 100, USUAL_SCALE * 100))
    return (np.clip(values, -LARGEST * scale, LARGEST * scale) / np.float32(scale)).astype(np.float32), scale


def window_starts(samples: int, window: int, overlap: int) -> NDArray[np.int64]:
    """Where the test windows of a recording begin (paper's program): (P,) sample indices.

    A recording that is not longer than the window has one, at 0 (the rest is padding). A longer one has
    P = ceil((samples - window) / (window - overlap)) + 1, at multiples of floor((samples - window) / (P - 1)), the last
    one ending with the recording.
    """
    if window < 1 or not 0 <= overlap < window:
        raise ValueError(f"window {window} and overlap {overlap}: 0 <= overlap < window is needed")
    extra = samples - window
    if extra <= 0:
        return np.zeros(1, np.int64)
    steps = -(-extra // (window - overlap))
    starts = np.arange(steps + 1, dtype=np.int64) * (extra // steps)
    starts[-1] = extra
    return starts


def side_numbers(header: Header, signal: Signal) -> NDArray[np.float32]:
    """What the network is told beside the signal: age and sex, (5,), and a scaled signal's scale, (6,): its logarithm
    over `USUAL_SCALE`, since low voltage is a diagnosis."""
    person = demographics(header)
    return person if signal.scale is None else np.append(person, np.float32(math.log(signal.scale / USUAL_SCALE)))


def demographics(header: Header) -> NDArray[np.float32]:
    """Age and sex as the network takes them, (5,): age / 100 (0 when unknown), 0, female, male, sex known.

    The second number is the age mask that the authors' program never sets. A negative age counts as unknown.
    """
    age = header.age if header.age is not None and header.age >= 0 else 0.0
    female, male = header.sex == "female", header.sex == "male"
    return np.array([age / 100, 0, female, male, female or male], np.float32)
