"""Leads, units, resampling and windows: from a `Recording` to the 12 leads that a recipe wants.

Arrays in, arrays out, no torch. This file knows neither files nor labels: what a header or a signal file says is
`recording.py`'s to find out, what a number of a method is stands in `recipes.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from leadwise.ecg.header import LeadHeader
from leadwise.ecg.recording import Recording
from leadwise.ecg.repairs import RecordingError, Repair, RepairLog, quote

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


def standard_leads(recording: Recording, unit: Literal["counts", "mV"]) -> Signal:
    """The twelve standard leads of a recording, float32 (12, samples), whatever leads the file has in what order.

    Limb leads that are missing are computed from I and II (in the unit asked for), other missing ones are zero; a lead
    that is flat, saturated or without values is as good as missing; samples that are no numbers are interpolated. Each
    of these is a named repair. Raises RecordingError without a usable lead.
    """
    if unit not in ("counts", "mV"):
        raise ValueError(f"unit {unit!r} is neither 'counts' nor 'mV'")
    recording = replace(recording, counts=np.ascontiguousarray(recording.counts))  # each step goes along a lead
    names, notes = recording.lead_names, RepairLog()
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


def _without_marks(values: NDArray[Any], recording: Recording, notes: RepairLog) -> NDArray[Any]:
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


def _empty_leads(values: NDArray[Any], recording: Recording, notes: RepairLog) -> set[int]:
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


def _without_gaps(values: NDArray[np.float64], recording: Recording, notes: RepairLog) -> NDArray[np.float64]:
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


def _in_standard_order(values: NDArray[Any], rows: Mapping[str, int], notes: RepairLog) -> Float32:
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


def _standard_rows(source: str, names: Sequence[str], notes: RepairLog) -> dict[str, int]:
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
