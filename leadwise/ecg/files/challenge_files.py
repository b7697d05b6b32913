"""Write a recording in the Challenge's format: NAME.hea, and NAME.mat in MATLAB 4 with int16 counts."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from leadwise.ecg.header import MAX_GAIN, WRONG_GAINS, LeadHeader
from leadwise.ecg.recording import Recording
from leadwise.util.files import atomic_write, write_text

NO_VALUE: Final = -(1 << 15)  # WFDB's count for a missing sample
LARGEST: Final = 24_000  # of moved or scaled counts: so far from NO_VALUE that a missing sample remains a jump
FINEST: Final = 1000  # counts for one count of the recording: finer than any signal's noise


def write_challenge_files(recording: Recording, folder: Path, name: str) -> Path:
    """Write a recording as NAME.hea and NAME.mat into a folder; return the path of the header.

    Reading them gives the same counts, gains, lead names, age, sex and codes. Leads whose counts are no int16 are moved
    by whole counts, and scaled if that is not enough; a comment in the header names them. Characters that a record's
    name cannot have become "_". Raises OSError."""
    header, name = recording.header, challenge_name(name)
    fitted = [_fit(lead, row, name) for lead, row in zip(header.leads, recording.counts, strict=True)]
    age = "NaN" if header.age is None else f"{header.age:.17g}"
    comments = [f"#Age: {age}", f"#Sex: {(header.sex or 'unknown').capitalize()}", f"#Dx: {','.join(header.codes)}"]
    changed = [lead.name for lead, (written, _) in zip(header.leads, fitted, strict=True) if written != lead]
    if changed:
        comments.append(f"#Moved or scaled to 16 bits: {_one_line(', '.join(changed))}")
    counts = np.stack([row for _, row in fitted])
    return write_record(folder, name, header.sampling_frequency, [lead for lead, _ in fitted], counts, comments)


def write_record(
    folder: Path,
    name: str,
    sampling_frequency: float,
    leads: Sequence[LeadHeader],
    counts: NDArray[np.int16],
    comments: Sequence[str],
) -> Path:
    """Write counts (leads, samples) with the names, gains and baselines of `leads`; return the path of the header."""
    with atomic_write(folder / f"{name}.mat") as handle:
        # type 30: little-endian, int16, full matrix; rows, columns, no imaginary part, length of the name
        handle.write(struct.pack("<5i4s", 30, *counts.shape, 0, 4, b"val\0"))
        handle.write(counts.astype("<i2").tobytes(order="F"))
    lines = [f"{name} {len(counts)} {sampling_frequency:.17g} {counts.shape[1]}"]
    for lead, row in zip(leads, counts, strict=True):
        gain = f"{lead.adc_gain:.17g}" + (f"({lead.baseline})" if lead.baseline else "")
        checksum = (int(row.sum(dtype=np.int64)) + 32768) % 65536 - 32768  # WFDB's: the sum as a signed 16-bit number
        lines.append(f"{name}.mat 16+24 {gain}/mV 16 0 {row[0]} {checksum} 0 {_one_line(lead.name)}".rstrip())
    # Last, because recordings are found by their header: none is found before its signal is complete.
    path = folder / f"{name}.hea"
    write_text(path, "\n".join([*lines, *comments]) + "\n")
    return path


def _fit(lead: LeadHeader, counts: NDArray[Any], name: str) -> tuple[LeadHeader, NDArray[np.int16]]:
    """Return a lead with int16 counts. They are the same unless they do not fit, or the Challenge's reader is known to
    take the gain of this source for wrong; NaN becomes NO_VALUE."""
    source = re.match(r"[A-Za-z]+(?=[0-9])", name)
    lowest, highest = WRONG_GAINS.get(source.group() if source else "", (np.inf, np.inf))
    known_wrong = lowest <= lead.adc_gain <= highest
    if counts.dtype == np.int16 and not known_wrong:
        return lead, counts
    values = np.where(np.isfinite(counts), counts, np.nan).astype(np.float64)
    valid = values[~np.isnan(values)]
    low, high = (float(valid.min()), float(valid.max())) if valid.size else (0.0, 0.0)
    middle = 0 if max(-low, high) <= LARGEST else round((low + high) / 2)
    half = max(high - middle, middle - low, 1.0)
    factor = 1.0 if (valid == np.rint(valid)).all() else min(FINEST, MAX_GAIN / abs(lead.adc_gain))
    factor = min(factor * (5 if known_wrong else 1), LARGEST / half)
    factor = float(int(factor)) if factor >= 1 else factor
    baseline = round((lead.baseline - middle) * factor)
    fitted = np.rint((values - lead.baseline) * factor) + baseline  # rounded once: within half a count
    return (
        lead._replace(adc_gain=lead.adc_gain * factor, baseline=baseline),
        np.where(np.isnan(fitted), NO_VALUE, fitted).astype(np.int16),
    )


def challenge_name(name: str) -> str:
    """Return the name of a written record: with "_" for what would end or change it in a header or a path."""
    name = re.sub(r"^[#.]|[\s/\\]", "_", "".join(mark if mark.isprintable() else "_" for mark in name)) or "_"
    return re.sub(r"\.(?=(?:mat|hea|dat)$)", "_", name, flags=re.IGNORECASE)


def _one_line(text: str) -> str:
    return " ".join("".join(mark if mark.isprintable() else " " for mark in text).split())
