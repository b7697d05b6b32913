"""Join the segments of a multi-segment WFDB record of fixed layout: the same leads in each, one after the other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from leadwise.ecg.header import MAX_SAMPLES, Header, LeadHeader, parse_header, split_lines
from leadwise.ecg.repairs import RepairLog, UnreadableError, quote

MAX_SEGMENTS: Final = 10_000
GAP: Final = "~"  # name of a segment without signal
_RECORD = re.compile(r"(\S+)/(\d{1,9})(?=\s)")
_SEVERAL = re.compile(rb"(?:\xef\xbb\xbf)?(?:\s*#[^\r\n]*)*\s*[^\s#/]+/\d")  # the first word after any comments


@dataclass(frozen=True)
class SegmentList:
    """The segments of a record."""

    header: Header  # name, age, sex and codes; its one lead is a placeholder
    segments: tuple[tuple[str, int], ...]  # name and samples


def parse_segments(text: bytes, source: str) -> SegmentList | None:
    """Parse the header of a multi-segment record; return None for any other header.

    Raises UnreadableError for a variable layout, RecordingError for what no header may have."""
    if not _SEVERAL.match(text):
        return None
    lines, comments = split_lines(text)
    record = _RECORD.match(lines[0])
    if record is None:
        return None
    segments = [_segment(line) for line in lines[1:]]
    if len(segments) != int(record[2]) or not 0 < len(segments) <= MAX_SEGMENTS:
        raise UnreadableError(f"declares {record[2]} segments, names {len(segments)}; at most {MAX_SEGMENTS} are read")
    if segments[0][1] == 0:
        raise UnreadableError("is a multi-segment record of variable layout; only a fixed layout is read")
    if sum(samples for _, samples in segments) > MAX_SAMPLES:
        raise UnreadableError(f"declares more than {MAX_SAMPLES} samples")
    single = [f"{record[1]} 1 {' '.join(lines[0].split()[2:4])}", "- 16 200 16 0 0 0 0 I", *comments]
    return SegmentList(parse_header(single, source), tuple(segments))


def _segment(line: str) -> tuple[str, int]:
    name, _, samples = line.partition(" ")
    if not re.fullmatch(r"[\w.-]+|~", name) or not name.strip(".") or not re.fullmatch(r"\s*\d{1,9}", samples):
        raise UnreadableError(f"{quote(line)} is no segment of the record's own folder")
    return name, int(samples)


def join_segments(
    record: SegmentList, parts: Sequence[tuple[tuple[LeadHeader, ...], NDArray[Any]] | None], repairs: RepairLog
) -> tuple[Header, NDArray[Any]]:
    """Return header and counts (leads, samples) of a record from leads and counts of its segments, None for a gap,
    which gets no values. Counts of another gain or baseline are converted to those of the first segment."""
    leads = next((part[0] for part in parts if part is not None), None)
    if leads is None:
        raise UnreadableError("has no segment with a signal")
    pieces: list[NDArray[Any]] = []
    for (name, samples), part in zip(record.segments, parts, strict=True):
        if part is None:
            pieces.append(np.full((len(leads), samples), np.nan))
            continue
        if [lead.name for lead in part[0]] != [lead.name for lead in leads]:
            raise UnreadableError(f"segment {quote(name)} has other leads than the first one")
        pieces.append(_converted(part[1], part[0], leads))
    counts = np.concatenate(pieces, axis=1)
    repairs.add("segments", str(len(parts)))
    return replace(record.header, leads=leads, samples=counts.shape[1]), counts


def _converted(counts: NDArray[Any], own: Sequence[LeadHeader], wanted: Sequence[LeadHeader]) -> NDArray[Any]:
    scales = [np.array([(lead.adc_gain, lead.baseline) for lead in leads]).T[:, :, None] for leads in (own, wanted)]
    (gain, baseline), (wanted_gain, wanted_baseline) = scales
    if np.array_equal(scales[0], scales[1], equal_nan=True):
        return counts
    converted: NDArray[Any] = (counts - baseline) / gain * wanted_gain + wanted_baseline
    return converted
