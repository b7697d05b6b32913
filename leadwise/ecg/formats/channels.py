"""Make a recording of the channels that were found in a file of another format.

Integers stay integers: the counts of the file with their gain, so that the ADC step can be measured. A sample without a
value is NaN.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from leadwise.ecg.header import (
    MAX_AGE,
    MAX_FREQUENCY,
    MAX_GAIN,
    MAX_LEADS,
    MAX_SAMPLES,
    MILLIVOLTS,
    MIN_FREQUENCY,
    MIN_GAIN,
    STANDARD_LEADS,
    Header,
    LeadHeader,
    Sex,
)
from leadwise.ecg.recording import Recording, smallest_type
from leadwise.ecg.repairs import RepairLog, UnreadableError, quote

FORMAT_REPAIRS: Final[dict[str, str]] = {
    "unit-assumed": "amplitudes have no unit: fractions are taken as mV, integers as uV, those of GE MUSE as uV",
    "channel-not-voltage": "a channel that is no voltage, or has no usable scale, is left out",
    "frequency-assumed": "an MFER file without a sampling interval has 1000 Hz, as its standard says",
    "frequencies-differ": "channels of another sampling frequency than that of most leads are left out",
    "lengths-differ": "leads that begin later or end earlier than others have missing samples there",
    "calibration-pulse": "a calibration pulse of 1 mV at the end of all leads is cut off",
    "longest-stretch": "the recording has gaps; its longest part without one is used",
    "part-ignored": "further waveforms of the file, such as a second series of leads, are not read",
    "file-cut-off": "the file ends early; what is complete is used",
    "offset-ignored": "a GE MUSE file shifts leads by an undocumented amount, which is not applied",
    "padding-ignored": "a DICOM padding value within the range of a lead's samples is an ordinary sample",
    "leads-assumed": "an array of twelve leads without names is taken to be in the standard order",
    "column-ignored": "a column without a name is left out",
}
MAX_BASELINE: Final = 1 << 31  # counts
MAX_SPREAD: Final = 20  # a recording is at most so many times as long as its longest lead
PULSE_SECONDS: Final = 2.0  # at the end of a recording, searched for a calibration pulse
PULSE_MV: Final = 1.0


@dataclass(frozen=True, eq=False)
class Channel:
    """One signal of a file: `samples * scale + offset` is in mV."""

    name: str
    samples: NDArray[Any]  # (n,) counts; NaN where there is no value
    frequency: float  # Hz
    scale: float | None  # mV per count; None if it is no voltage or not known
    offset: float = 0.0  # mV
    start: int = 0  # samples from the beginning of the recording


@dataclass(frozen=True)
class Contents:
    """Hold what a file contains."""

    channels: Sequence[Channel]
    age: float | None = None  # years
    sex: Sex | None = None


def counts_in_microvolts(values: NDArray[Any], unit: str) -> NDArray[np.float64]:
    """Return values in a unit of `MILLIVOLTS` in uV; numbers that were rounded to whole uV are integers again."""
    per_unit = MILLIVOLTS[unit] * 1000
    counts = values.astype(np.float64) * per_unit
    whole = np.rint(counts)
    exact = ((whole / per_unit).astype(values.dtype) == values) | ~np.isfinite(counts)
    return whole if exact.all() else counts


def known_age(age: float | None, repairs: RepairLog) -> float | None:
    """Return an age in years, or None with a repair if it is negative, too large or no number."""
    if age is None or 0 <= age <= MAX_AGE:
        return age
    repairs.add("unreadable-age", quote(f"{age:g}"))
    return None


def assemble(
    path: str, channels: Sequence[Channel], age: float | None, sex: Sex | None, repairs: RepairLog
) -> Recording:
    """Return the recording of a file's channels. Raises UnreadableError if none is usable or a limit is exceeded."""
    if len(channels) > MAX_LEADS:
        raise UnreadableError(f"has {len(channels)} channels; at most {MAX_LEADS} are read")
    channels = _of_one_frequency(_with_scale(channels, repairs), repairs)
    frequency = channels[0].frequency
    counts = _without_pulse(_stack(channels, repairs), channels, repairs)
    counts.flags.writeable = False
    file, form = Path(path).name, "16" if counts.dtype == np.int16 else "32"
    leads = tuple(
        LeadHeader(channel.name, file, form, 1 / scale, round(-channel.offset / scale))
        for channel in channels
        if (scale := channel.scale) is not None
    )
    samples, name = counts.shape[1], Path(path).stem
    header = Header(
        name=name,
        sampling_frequency=frequency,
        samples=samples,
        leads=leads,
        age=known_age(age, repairs),
        sex=sex,
        codes=(),
        repairs=(),
    )
    return Recording(header, counts, repairs.merged())


def _with_scale(channels: Sequence[Channel], repairs: RepairLog) -> list[Channel]:
    """Return the channels with samples in a voltage, and a gain and a baseline within the limits."""
    usable = []
    for channel in channels:
        scale = channel.scale
        if scale and MIN_GAIN <= 1 / abs(scale) <= MAX_GAIN and abs(channel.offset / scale) <= MAX_BASELINE:
            usable.append(channel)
        else:
            repairs.add("channel-not-voltage", quote(channel.name))
    if not usable:
        raise UnreadableError(f"has no channel with a known amplitude, of {len(channels)}")
    return usable


def _of_one_frequency(channels: Sequence[Channel], repairs: RepairLog) -> list[Channel]:
    """Return the channels of the sampling frequency that most leads have; standard leads count before others."""
    votes: Counter[float] = Counter()
    for channel in channels:
        votes[channel.frequency] += MAX_LEADS if channel.name in STANDARD_LEADS else 1
    frequency = max(votes, key=lambda value: (votes[value], value))
    if not MIN_FREQUENCY <= frequency <= MAX_FREQUENCY:
        raise UnreadableError(f"sampling frequency {frequency:g} is outside {MIN_FREQUENCY:g} to {MAX_FREQUENCY:g} Hz")
    for channel in channels:
        if channel.frequency != frequency:
            repairs.add("frequencies-differ", f"{quote(channel.name)} at {channel.frequency:g} Hz")
    return [channel for channel in channels if channel.frequency == frequency]


def _stack(channels: Sequence[Channel], repairs: RepairLog) -> NDArray[Any]:
    """Return the counts (leads, samples) as int16, int32 or float64, the first of them that holds every value."""
    ends = [channel.start + len(channel.samples) for channel in channels]
    longest = max(len(channel.samples) for channel in channels)
    length = max(ends)
    if longest == 0:
        raise UnreadableError("the signal has no samples")
    if length > MAX_SAMPLES:
        raise UnreadableError(f"has {length} samples; at most {MAX_SAMPLES} are read")
    if length > MAX_SPREAD * longest:
        raise UnreadableError("its leads are not of the same time")
    rows = [smallest_type(channel.samples) for channel in channels]
    if all(len(row) == length for row in rows):
        return np.stack(rows)  # of the widest type
    counts = np.full((len(rows), length), np.nan)
    for row, channel, end, target in zip(rows, channels, ends, counts, strict=True):
        target[channel.start : end] = row
        if len(row) < length:
            repairs.add("lengths-differ", quote(channel.name))
    return counts


def _without_pulse(counts: NDArray[Any], channels: Sequence[Channel], repairs: RepairLog) -> NDArray[Any]:
    """Cut off the end in which all leads have the same two values, 0 and 1 mV: a calibration pulse."""
    if len(channels) < 3:
        return counts
    samples = counts.shape[1]
    tail = counts[:, -min(math.ceil(PULSE_SECONDS * channels[0].frequency), samples) :].astype(np.float64)
    tail *= np.array([[channel.scale] for channel in channels], np.float64)
    tail += np.array([[channel.offset] for channel in channels], np.float64)
    alike = np.isclose(tail, tail[0], rtol=0, atol=0.01 * PULSE_MV).all(axis=0)
    first = 0 if alike.all() else int(np.flatnonzero(~alike)[-1]) + 1
    pulse = tail[0, first:]
    high = np.isclose(pulse, PULSE_MV, rtol=0, atol=0.02 * PULSE_MV)
    low = np.isclose(pulse, 0, rtol=0, atol=0.02 * PULSE_MV)
    if first == 0 or not (high | low).all() or not high.any() or not low.any():
        return counts
    repairs.add("calibration-pulse", f"{pulse.size} samples")
    return np.ascontiguousarray(counts[:, : samples - pulse.size])
