"""Derive the twelve standard leads of a recording in counts or mV, and repair leads and samples without information."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from leadwise.ecg.files.signal_files import parse_format
from leadwise.ecg.header import LeadHeader
from leadwise.ecg.lead_names import STANDARD_LEADS as STANDARD_LEADS
from leadwise.ecg.lead_names import parse_lead_names
from leadwise.ecg.recording import Recording
from leadwise.ecg.repairs import RecordingError, Repair, RepairLog, quote

SIGNAL_REPAIRS: Final[dict[str, str]] = {
    "leads-reordered": "leads in another order are put into the standard order by their names",
    "leads-by-position": "twelve leads whose names say nothing (blank, numbers) are taken to be in standard order",
    "lead-ignored": "a lead whose name is not one of the standard twelve is left out",
    "lead-repeated": "of leads with the same name the first one is used",
    "lead-inverted": "a lead stored with the opposite sign, such as -aVR, is turned round",
    "lead-derived": "a missing limb lead is computed from two others",
    "lead-missing": "a missing lead that cannot be computed is zero throughout",
    "samples-interpolated": "samples that are NaN or beyond 32 bits are interpolated from the lead's others",
    "no-value": "runs of WFDB's number for no value (-32768 in 16 bits) that begin and end with a jump become NaN",
    "lead-without-values": "a lead in which no sample is a number is taken as missing",
    "lead-flat": "a lead with one value throughout is taken as missing",
    "lead-saturated": "a lead with more than half of its values at the ends of 16 bits is taken as missing",
    "lead-without-gain": "a lead with an impossible gain, or whose header line cannot be read, is taken as missing",
}
# Weights of (I, II) in each limb lead: Einthoven's and Goldberger's equations. Any two of the six determine the others.
LIMB_LEADS: Final = {
    "I": (1.0, 0.0), "II": (0.0, 1.0), "III": (-1.0, 1.0),
    "aVR": (-0.5, -0.5), "aVL": (1.0, -0.5), "aVF": (-0.5, 1.0),
}  # fmt: skip

# Bits of each of WFDB's formats, whose lowest number means "no value" (signal(5)). MATLAB files use that of 16 bits.
FORMAT_BITS: Final = {"80": 8, "508": 8, "310": 10, "311": 10, "212": 12, "524": 24, "24": 24, "32": 32}
NO_VALUE_JUMP: Final = 4  # a run with a jump of a quarter of that number (8 mV at 1000 per mV) at both ends is one
LONG: Final = 1_400_000  # samples, 93 minutes at 250 Hz: from here on leads are computed one by one, in less memory
MAX_COUNT: Final = 1 << 31  # no converter has more than 32 bits; larger numbers would overflow in the networks
ADC_ENDS: Final = (-(1 << 15), (1 << 15) - 1)  # counts
SATURATED_SHARE: Final = 0.5  # of a lead's samples
Float32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Signal:
    """Twelve leads in standard order, with the repairs made to them (names from `SIGNAL_REPAIRS`)."""

    values: Float32  # (12, samples), mV or ADC counts, or divided by `scale`
    sampling_frequency: float  # Hz
    repairs: tuple[Repair, ...] = ()
    scale: float | None = None  # mV; root mean square, if the recipe normalises it


def standard_leads(recording: Recording, unit: Literal["counts", "mV"]) -> Signal:
    """Return the twelve standard leads of a recording, float32 (12, samples), whatever leads the file has in any order.

    Missing limb leads are computed from I and II in the requested unit, other missing ones are zero; flat and saturated
    leads count as missing. Each `SIGNAL_REPAIRS` is named. Raises RecordingError if no lead is usable."""
    if unit not in ("counts", "mV"):
        raise ValueError(f"unit {unit!r} is neither 'counts' nor 'mV'")
    recording, repairs = replace(recording, counts=np.ascontiguousarray(recording.counts)), RepairLog()
    values, empty = _usable_values(recording, unit, repairs)
    return Signal(_arranged(values, empty, recording, repairs), recording.sampling_frequency, repairs.merged())


def lead_by_lead(recording: Recording, unit: Literal["counts", "mV"]) -> tuple[tuple[Repair, ...], Iterator[Float32]]:
    """Return the repairs of `standard_leads`, and its leads one after the other, (1, samples) each: for recordings of
    which not all leads should be in memory at once as floats. Raises RecordingError as `standard_leads` does."""
    leads, repairs = recording.header.leads, RepairLog()
    alone = [
        replace(recording, header=replace(recording.header, leads=(lead,)), counts=recording.counts[row : row + 1])
        for row, lead in enumerate(leads)
    ]
    empty = {row for row, part in enumerate(alone) if _usable_values(part, unit, repairs)[1]}
    weights = _arranged(np.eye(len(leads), dtype=np.float32), empty, recording, repairs)  # (12, leads of the file)
    return repairs.merged(), (_weighted_sum(row, alone, unit) for row in weights)


def _weighted_sum(weights: Float32, alone: Sequence[Recording], unit: Literal["counts", "mV"]) -> Float32:
    total = np.zeros((1, alone[0].counts.shape[1]), np.float32)
    for number, row in enumerate(np.flatnonzero(weights).tolist()):
        values = _usable_values(alone[row], unit, RepairLog())[0]
        values *= weights[row]
        total = values if number == 0 else np.add(total, values, out=total)
    return total


def _usable_values(recording: Recording, unit: str, repairs: RepairLog) -> tuple[Float32, set[int]]:
    """Return the values (leads, samples) without gaps, each step along a lead, and the rows without information."""
    values = _without_marks(_in_unit(recording, unit), recording, repairs)
    valued = None if values.dtype == np.float32 else ~np.isnan(values)
    if values.dtype == np.float64:  # only then can a sample be invalid
        values = _without_gaps(values, recording, repairs).astype(np.float32)
    return values, _empty_leads(values, valued, recording, repairs)


def _arranged(values: Float32, empty: set[int], recording: Recording, repairs: RepairLog) -> Float32:
    """Return (12, samples) from the values of the file's leads, without those in `empty`. Raises RecordingError."""
    names = recording.lead_names
    if names == STANDARD_LEADS and not empty:
        return values
    rows, inverted = _standard_rows(recording.name, names, repairs)
    if empty.issuperset(rows.values()):
        raise _no_lead(recording, repairs)
    for row in inverted - empty:
        values[row] *= -1
        repairs.add("lead-inverted", quote(names[row]))
    return _in_standard_order(values, {name: row for name, row in rows.items() if row not in empty}, repairs)


def _no_lead(recording: Recording, repairs: RepairLog) -> RecordingError:
    """Return the error of a recording without any usable lead."""
    found = {name for name in ("lead-without-values", "lead-without-gain", "lead-saturated") if name in repairs}
    if "lead-flat" in repairs or len(found) > 1:
        only_flat = not found
        return RecordingError(recording.name, "is flat in every lead" if only_flat else "has no usable lead")
    if "lead-without-values" in found:
        return RecordingError(recording.name, "no sample is a number")
    saturated = "lead-saturated" in found
    return RecordingError(recording.name, "is saturated in every lead" if saturated else "no lead has a possible gain")


def _in_unit(recording: Recording, unit: str) -> NDArray[Any]:
    """Return counts or mV, (leads, samples): float32 for int16 counts, which it holds exactly, otherwise float64."""
    counts = recording.counts
    precision = np.float32 if counts.dtype == np.int16 else np.float64
    values: NDArray[Any] = counts.astype(precision)
    if unit == "mV":
        baseline, gain = (row[:, None].astype(precision) for row in (recording.baseline, recording.adc_gain))
        gain = np.where(np.isnan(gain), 1, gain)  # of a lead that will be taken as missing
        with np.errstate(over="ignore"):  # becomes infinite, and is repaired as such
            np.divide(np.subtract(values, baseline, out=values), gain, out=values)
    return values


def _without_marks(values: NDArray[Any], recording: Recording, repairs: RepairLog) -> NDArray[Any]:
    """Replace runs of WFDB's number for no value by NaN; the result is float64 if there are any."""
    counts, marks = recording.counts, np.array([_no_value(lead) for lead in recording.header.leads])
    lowest = counts.min(axis=1) if counts.dtype.kind == "i" else np.fmin.reduce(counts, axis=1)  # NaN if all are
    for lead in np.flatnonzero(lowest <= marks).tolist():  # no number is lower than the mark: few leads, if any
        for first, end in _runs_without_value(counts[lead], int(marks[lead])):
            values = values.astype(np.float64, copy=False)
            values[lead, first:end] = np.nan
            repairs.add("no-value", f"{end - first} of {quote(recording.lead_names[lead])}")
    return values


def _no_value(lead: LeadHeader) -> int:
    bits = 16 if lead.file[-4:].lower() == ".mat" else FORMAT_BITS.get(parse_format(lead.format).code, 16)
    return -(1 << (bits - 1))


def _runs_without_value(row: NDArray[Any], mark: int) -> list[tuple[int, int]]:
    """Return first and end of the runs of `mark` that begin and end with a jump; a true saturation has no jumps."""
    edges = np.flatnonzero(np.diff(row == mark, prepend=False, append=False)).reshape(-1, 2)  # (runs, 2)
    near = mark - mark / NO_VALUE_JUMP
    runs = []
    for first, end in edges.tolist():
        before, after = row[max(first - 1, 0)], row[min(end, len(row) - 1)]  # the mark itself at the recording's ends
        if all(value == mark or not value < near for value in (before, after)):
            runs.append((first, end))
    return runs


def _without_gaps(values: NDArray[np.float64], recording: Recording, repairs: RepairLog) -> NDArray[np.float64]:
    """Interpolate samples that are NaN or beyond the range of counts; a lead without any valid sample becomes zero."""
    names = recording.lead_names
    finite = np.abs(values) <= np.finfo(np.float32).max  # False for NaN too
    finite &= np.abs(recording.counts.astype(np.float64)) <= MAX_COUNT
    for lead in np.flatnonzero(~finite.all(axis=1)).tolist():
        good, bad = np.flatnonzero(finite[lead]), np.flatnonzero(~finite[lead])
        if good.size:
            values[lead, bad] = np.interp(bad, good, values[lead, good])
            repairs.add("samples-interpolated", f"{bad.size} of {quote(names[lead])}")
        else:
            values[lead] = 0
            repairs.add("lead-without-values", quote(names[lead]))
    return values


def _empty_leads(
    values: NDArray[Any], valued: NDArray[np.bool_] | None, recording: Recording, repairs: RepairLog
) -> set[int]:
    """Return the rows of leads without information: without a gain, one value throughout, or mostly at an end of the
    ADC's range where they are `valued` (leads, samples; None: everywhere)."""
    names, counts = recording.lead_names, recording.counts
    unknown = set(np.flatnonzero(np.isnan(recording.adc_gain)).tolist())
    for lead in sorted(unknown):
        repairs.add("lead-without-gain", quote(names[lead]))
    suspects = np.flatnonzero(values[:, 0] == values[:, values.shape[1] // 2])  # only these need all samples compared
    flat = {lead for lead in suspects.tolist() if (values[lead] == values[lead, 0]).all()} - unknown
    for name in [quote(names[lead]) for lead in sorted(flat)]:
        if name not in repairs.get("lead-without-values", ()):
            repairs.add("lead-flat", name)
    subset = counts[:, :: max(counts.shape[1] // 64, 1)]  # evenly spread: half of a lead's samples cannot miss it
    if valued is not None:
        subset = counts  # ... but half of its values can
    suspects = np.flatnonzero(((subset == ADC_ENDS[0]) | (subset == ADC_ENDS[1])).any(axis=1))
    saturated = set()
    for lead in suspects.tolist():
        row = counts[lead] if valued is None else counts[lead][valued[lead]]
        if row.size and np.isin(row, ADC_ENDS).mean() > SATURATED_SHARE:
            saturated.add(lead)
    saturated -= flat | unknown
    for lead in sorted(saturated):
        repairs.add("lead-saturated", quote(names[lead]))
    return flat | saturated | unknown


def _standard_rows(source: str, names: Sequence[str], repairs: RepairLog) -> tuple[dict[str, int], set[int]]:
    """Return standard lead name -> row of the file, by name, or by position if the names of twelve leads say nothing;
    and the rows that are inverted."""
    found = parse_lead_names(names)
    spelled = " ".join(map(quote, names))
    if not any(name.lead for name in found):
        if len(names) != len(STANDARD_LEADS) or not all(name.blank for name in found):
            raise RecordingError(source, f"has no lead of a standard name, only {spelled or 'none'}")
        repairs.add("leads-by-position", spelled)
        return {name: row for row, name in enumerate(STANDARD_LEADS)}, set()
    rows: dict[str, int] = {}
    for row, name in enumerate(found):
        if name.lead is None:
            repairs.add("lead-ignored", quote(names[row]))
        elif rows.setdefault(name.lead, row) != row:
            repairs.add("lead-repeated", name.lead)
    if list(rows) != sorted(rows, key=STANDARD_LEADS.index):
        repairs.add("leads-reordered", " ".join(rows))
    return rows, {row for row in rows.values() if found[row].inverted}


def _in_standard_order(values: NDArray[Any], rows: Mapping[str, int], repairs: RepairLog) -> Float32:
    """Return (12, samples) from the given rows of `values`, with missing leads derived or zero."""
    ordered = np.zeros((len(STANDARD_LEADS), values.shape[1]), np.float32)
    known = [name for name in LIMB_LEADS if name in rows][:2]
    for lead, name in enumerate(STANDARD_LEADS):
        if name in rows:
            ordered[lead] = values[rows[name]]
        elif name in LIMB_LEADS and len(known) == 2:
            first, second = _weights(name, known)
            ordered[lead] = first * values[rows[known[0]]] + second * values[rows[known[1]]]
            repairs.add("lead-derived", name)
        else:
            repairs.add("lead-missing", name)
    return ordered


def _weights(lead: str, known: Sequence[str]) -> tuple[float, float]:
    """Return the weights of two known limb leads in another one."""
    (a, b), (c, d), (e, f) = LIMB_LEADS[known[0]], LIMB_LEADS[known[1]], LIMB_LEADS[lead]
    determinant = a * d - b * c  # none of the pairs is parallel
    return (e * d - f * c) / determinant, (f * a - e * b) / determinant
