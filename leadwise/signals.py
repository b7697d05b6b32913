"""Leads, units, resampling and windows: from a `Recording` to the 12 leads that a recipe wants.

Arrays in, arrays out, no torch. This file knows neither files nor labels: what a header or a signal file says is
`recording.py`'s to find out, what a number of a method is stands in `recipes.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from leadwise.recipes import SignalRecipe
from leadwise.recording import Header, Recording, RecordingError, Repair

STANDARD_LEADS: tuple[str, ...] = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")

SIGNAL_REPAIRS: Mapping[str, str] = MappingProxyType(
    {
        "leads reordered": "the file's leads are not in standard order: put into it by their names",
        "leads by position": "no lead has a known name, but there are twelve: taken in standard order as they stand",
        "lead ignored": "a lead with a name outside the standard twelve was left out",
        "lead twice": "a lead name occurs more than once: the first one counts",
        "lead derived": "a missing limb lead was computed from I and II",
        "lead missing": "a lead is missing and cannot be computed: zero throughout",
        "samples interpolated": "samples without a value (NaN or infinite) were interpolated from their neighbours",
        "lead without values": "a lead has no finite sample at all: zero throughout",
    }
)

# What (I, II) weigh in each lead that they determine: Einthoven's and Goldberger's equations.
DERIVED_LEADS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"III": (-1.0, 1.0), "aVR": (-0.5, -0.5), "aVL": (1.0, -0.5), "aVF": (-0.5, 1.0)}
)

ZERO_CROSSINGS = 16  # of the resampling filter's sinc, to each side
CUTOFF = 0.47  # of the lower of the two sampling frequencies; half amplitude there, stop band from 0.53
KAISER_BETA = 5.65  # 60 dB
FRAME_ELEMENTS = 1 << 20  # largest matrix of filter weights that is kept for a pair of frequencies: 4 MB
PHASES = 2048  # of the filter, where a pair of frequencies has too many of its own
GATHERED_ELEMENTS = 1 << 18  # source samples a lead that are gathered at once on that path

# No ECG is sampled more slowly or faster; what a damaged header says may otherwise ask for any amount of memory.
LOWEST_FREQUENCY, HIGHEST_FREQUENCY = 20.0, 10_000.0  # Hz
SMALLEST_GAIN = 1e-6  # counts per mV, to either side of zero; below it float32 could overflow

Float32 = NDArray[np.float32]
_INDEX = {name.lower(): index for index, name in enumerate(STANDARD_LEADS)}


@dataclass(frozen=True, eq=False)
class Signal:
    """Twelve leads in standard order: values (12, samples) in mV or ADC counts, sampling frequency in Hz."""

    values: Float32
    sampling_frequency: float
    repairs: tuple[Repair, ...] = ()


def prepare(recording: Recording, recipe: SignalRecipe) -> Signal:
    """The network's input of a recording: standard leads in the recipe's unit, at its sampling frequency.

    Values (12, floor(samples * target / sampling frequency)); repairs are those of reading and of this file together.
    Raises RecordingError where no lead can be used, where fewer than two samples are there or none would be left, and
    where the sampling frequency is none of an ECG.
    """
    frequency, samples = recording.sampling_frequency, recording.counts.shape[1]
    if not LOWEST_FREQUENCY <= frequency <= HIGHEST_FREQUENCY:
        raise RecordingError(recording.name, f"a sampling frequency of {frequency:g} Hz is none of an ECG")
    if samples < 2 or resampled_length(samples, frequency, recipe.sampling_frequency) < 1:
        raise RecordingError(recording.name, f"too short: {samples} samples")
    signal = standard_leads(recording, recipe.unit)
    resample = {"linear": resample_linear, "polyphase": resample_polyphase}[recipe.resampling]
    values = resample(signal.values, frequency, recipe.sampling_frequency)
    return Signal(values, float(recipe.sampling_frequency), signal.repairs)


def standard_leads(recording: Recording, unit: Literal["counts", "mV"]) -> Signal:
    """The twelve standard leads of a recording, float32 (12, samples), whatever leads the file has in what order.

    Limb leads that are missing are computed from I and II (in the unit asked for), other missing ones are zero; samples
    that are no numbers are interpolated. Each of these is a named repair. Raises RecordingError without a usable lead.
    """
    if unit not in ("counts", "mV"):
        raise ValueError(f"unit {unit!r} is neither 'counts' nor 'mV'")
    values = _converted(recording, unit)
    repairs: list[Repair] = []
    if values.dtype == np.float64:  # only then can a sample be no number, or the file's numbers need rounding
        values = _without_gaps(values, recording.lead_names, repairs).astype(np.float32)
    if recording.lead_names != STANDARD_LEADS:
        values = _in_standard_order(values, recording, repairs)
    return Signal(values, recording.sampling_frequency, (*recording.repairs, *repairs))


def _converted(recording: Recording, unit: str) -> NDArray[Any]:
    """Counts or mV (leads, samples): float32 where that is enough (int16, sane gains), float64 otherwise."""
    counts, gain = recording.counts, recording.adc_gain
    narrow = counts.dtype == np.int16 and (unit == "counts" or bool(np.all(np.abs(gain) >= SMALLEST_GAIN)))
    precision = np.float32 if narrow else np.float64
    values: NDArray[Any] = counts.astype(
        precision, order="C"
    )  # files are stored sample by sample, filters go along a lead
    if unit == "mV":
        baseline, gain = recording.baseline[:, None].astype(precision), gain[:, None].astype(precision)
        with np.errstate(all="ignore"):  # a gain of nothing gives values that are no numbers: a named repair later
            np.divide(np.subtract(values, baseline, out=values), gain, out=values)
    return values


def _without_gaps(values: NDArray[np.float64], names: tuple[str, ...], repairs: list[Repair]) -> NDArray[np.float64]:
    """The same leads with linear interpolation where a sample is NaN or infinite; zeros where a lead has no number."""
    finite = np.abs(values) <= np.finfo(np.float32).max  # False for NaN too
    for lead in np.flatnonzero(~finite.all(axis=1)):
        good = np.flatnonzero(finite[lead])
        bad = np.flatnonzero(~finite[lead])
        values[lead, bad] = np.interp(bad, good, values[lead, good]) if good.size else 0.0
        if good.size:
            repairs.append(Repair("samples interpolated", f"{names[lead]}: {bad.size} samples"))
        else:
            repairs.append(Repair("lead without values", names[lead]))
    return values


def _in_standard_order(values: NDArray[Any], recording: Recording, repairs: list[Repair]) -> Float32:
    """Leads (any, samples) under the recording's names, put into standard order and completed."""
    rows = _standard_rows(recording, repairs)
    ordered = np.zeros((len(STANDARD_LEADS), values.shape[1]), np.float32)
    ordered[list(rows)] = values[list(rows.values())]
    missing = [name for index, name in enumerate(STANDARD_LEADS) if index not in rows]
    for name in missing:
        if name in DERIVED_LEADS and 0 in rows and 1 in rows:
            of_i, of_ii = DERIVED_LEADS[name]
            ordered[_INDEX[name.lower()]] = of_i * ordered[0] + of_ii * ordered[1]
            repairs.append(Repair("lead derived", f"{name} from I and II"))
        else:
            repairs.append(Repair("lead missing", name))
    return ordered


def _standard_rows(recording: Recording, repairs: list[Repair]) -> dict[int, int]:
    """Standard lead index -> row of the file, by name in any spelling; by position where all twelve are unknown."""
    rows: dict[int, int] = {}
    unknown: list[str] = []
    for row, name in enumerate(recording.lead_names):
        index = _INDEX.get(name.strip().lower())
        if index is None:
            unknown.append(name)
        elif index in rows:
            repairs.append(Repair("lead twice", STANDARD_LEADS[index]))
        else:
            rows[index] = row
    if not rows and len(unknown) == len(STANDARD_LEADS):
        repairs.append(Repair("leads by position", " ".join(unknown)))
        return {index: index for index in range(len(STANDARD_LEADS))}
    if not rows:
        raise RecordingError(recording.name, f"no usable lead: {' '.join(unknown) or 'none at all'}")
    repairs.extend(Repair("lead ignored", name) for name in unknown)
    if list(rows) != sorted(rows):
        repairs.append(Repair("leads reordered", " ".join(recording.lead_names)))
    return rows


def resampled_length(samples: int, sampling_frequency: float, target: float) -> int:
    """How many samples a recording has at another frequency: floor(samples * target / sampling_frequency), exactly."""
    ratio = _ratio(sampling_frequency, target)
    return samples * ratio.numerator // ratio.denominator


@lru_cache(maxsize=64)
def _ratio(sampling_frequency: float, target: float) -> Fraction:
    """Target over source frequency, of the decimals as they are written (257.3 is 2573/10, not its binary twin)."""
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
    is mirrored at its ends, so that an offset neither rings nor ripples. Any pair of frequencies is possible; one
    with a small ratio is one matrix product. Equal frequencies leave the values as they are.
    """
    if sampling_frequency == target:
        return np.asarray(values, np.float32)
    signal = np.atleast_2d(np.asarray(values, np.float32))
    ratio = _ratio(sampling_frequency, target)
    half = _half_width(ratio)
    if signal.shape[1] * ratio < 1:
        result = np.zeros((len(signal), 0), np.float32)
    elif ratio.numerator * (ratio.denominator + 2 * half) <= FRAME_ELEMENTS:
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
    """The whole pattern of phases as one matrix: each `down` source samples give `up` target samples."""
    up, down = ratio.numerator, ratio.denominator
    leads, samples = signal.shape
    length = samples * up // down
    frames = -(-length // up)
    weights = _frame_weights(ratio, half)  # (span, up)
    padded = _mirrored(signal, half, max(frames * down, samples) + 2 * half)
    strides = (padded.strides[0], down * padded.strides[1], padded.strides[1])
    windows = np.lib.stride_tricks.as_strided(padded, (leads, frames, len(weights)), strides, writeable=False)
    result = windows.reshape(leads * frames, -1) @ weights
    return np.ascontiguousarray(result.reshape(leads, frames * up)[:, :length])


@lru_cache(maxsize=8)
def _frame_weights(ratio: Fraction, half: int) -> Float32:
    """(down + 2 half - 1, up): column k holds the filter around source position k * down / up."""
    up, down = ratio.numerator, ratio.denominator
    left, remainder = np.divmod(np.arange(up) * down, up)
    weights = np.zeros((up, down + 2 * half - 1), np.float32)
    columns = left[:, None] + np.arange(2 * half)
    np.put_along_axis(weights, columns, _taps(remainder / up, half, ratio).astype(np.float32), axis=1)
    return np.ascontiguousarray(weights.T)


def _by_phases(signal: Float32, ratio: Fraction, half: int) -> Float32:
    """Any ratio: each target sample takes the nearest of `PHASES` filters, part by part to bound the memory."""
    up, down = ratio.numerator, ratio.denominator
    leads, samples = signal.shape
    length = samples * up // down
    table = _phase_table(ratio, half)  # (PHASES + 1, 2 half)
    windows = np.lib.stride_tricks.sliding_window_view(_mirrored(signal, half, samples + 2 * half), 2 * half, axis=1)
    result = np.empty((leads, length), np.float32)
    at_once = max(GATHERED_ELEMENTS // (2 * half), 1)
    for start in range(0, length, at_once):
        position = np.arange(start, min(start + at_once, length)) * (down / up)
        left = position.astype(np.intp)
        phase = np.rint((position - left) * PHASES).astype(np.intp)
        np.einsum("lkt,kt->lk", windows[:, left], table[phase], out=result[:, start : start + at_once])
    return result


@lru_cache(maxsize=8)
def _phase_table(ratio: Fraction, half: int) -> Float32:
    """(PHASES + 1, 2 half): the filter at each fraction of a source sample from 0 to 1."""
    return _taps(np.linspace(0, 1, PHASES + 1), half, ratio).astype(np.float32)


def _taps(fractions: NDArray[np.float64], half: int, ratio: Fraction) -> NDArray[np.float64]:
    """(fractions, 2 half) weights of source samples 1 - half .. half about positions 0 + fraction, each row's sum 1."""
    distance = np.arange(1 - half, half + 1) - fractions[:, None]
    cutoff = 2 * CUTOFF * min(float(ratio), 1.0)
    window = np.i0(KAISER_BETA * np.sqrt(np.clip(1 - (distance / half) ** 2, 0, None)))
    taps: NDArray[np.float64] = np.sinc(cutoff * distance) * window
    return taps / taps.sum(axis=1, keepdims=True)


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


def demographics(header: Header) -> NDArray[np.float32]:
    """Age and sex as the network takes them, (5,): age / 100 (0 when unknown), 0, female, male, sex known.

    The second number is the age mask that the authors' program never sets. A negative age counts as unknown.
    """
    age = header.age if header.age is not None and header.age >= 0 else 0.0
    female, male = header.sex == "female", header.sex == "male"
    return np.array([age / 100, 0, female, male, female or male], np.float32)
