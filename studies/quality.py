"""Count how well quality warnings separate bad recordings from good ones: python -m studies.quality FOLDER [INDEX.csv]

Counts the quality warnings and the repairs over the recordings in FOLDER, by the column `quality` of INDEX.csv (its
column `record` has their names), or all together without an index. The row "arms exchanged" counts the recordings that
get the warning of swapped limb leads after the electrodes of the two arms are exchanged (I inverted, II with III, aVR
with aVL).
"""

from __future__ import annotations

import csv
import dataclasses
import sys
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from leadwise.ecg.discovery import find_recordings
from leadwise.ecg.leads import standard_leads
from leadwise.ecg.quality import QUALITY_WARNINGS, quality_warnings
from leadwise.ecg.recording import Recording, read_recording
from leadwise.ecg.repairs import RecordingError

UNUSABLE, ANY_WARNING = "not usable", "any warning, or not usable"
EXCHANGED = "warning limb-leads-swapped, arms exchanged"


def with_exchanged_arms(recording: Recording) -> Recording:
    """Return the recording as if the electrodes of the two arms were exchanged; its leads are in standard order."""
    counts = recording.counts[[0, 2, 1, 4, 3, *range(5, 12)]].astype(np.float64)
    counts[0] *= -1
    return dataclasses.replace(recording, counts=counts)


def findings(path: Path) -> set[str]:
    """Return the names of the repairs and quality warnings of one recording."""
    try:
        recording = read_recording(path)
        repairs = {f"repair {each.name}" for each in (*recording.repairs, *standard_leads(recording, "mV").repairs)}
        warnings = {f"warning {each.name}" for each in quality_warnings(recording)}
        if any(each.name == "limb-leads-swapped" for each in quality_warnings(with_exchanged_arms(recording))):
            repairs.add(EXCHANGED)
    except RecordingError:
        return {UNUSABLE, ANY_WARNING}
    return repairs | warnings | ({ANY_WARNING} if warnings else set())


def main(folder: str, index: str = "") -> None:
    """Print a table: the number of recordings with each repair and warning, one column for each quality."""
    qualities: dict[str, str] = {}
    if index:
        with Path(index).open(newline="") as file:
            qualities = {row["record"]: row["quality"] for row in csv.DictReader(file)}
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for path in find_recordings(folder):
        counts[qualities.get(path.stem, "all")].update({*findings(path), "recordings"})
    found = {name for count in counts.values() for name in count}
    names = sorted(found | {f"warning {name}" for name in QUALITY_WARNINGS})
    print("| |", " | ".join(counts), "|")
    print("|---|" + "---|" * len(counts))
    for name in ["recordings", *(name for name in names if name != "recordings")]:
        print(f"| {name} |", " | ".join(str(count[name]) for count in counts.values()), "|")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python -m studies.quality FOLDER [INDEX.csv]")
    try:
        main(*sys.argv[1:])
    except (ValueError, OSError) as error:
        sys.exit(f"studies.quality: {error}")
