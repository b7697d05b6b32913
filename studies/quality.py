"""How well remarks tell bad recordings from good ones: python -m studies.quality FOLDER [INDEX.csv]

Counts the remarks (leadwise.quality) and the repairs of the reader over the recordings in FOLDER, apart for what the
column `quality` of INDEX.csv says of them (its column `record` has their names), all together where there is no index.
"Arms exchanged" counts the recordings in which swapped limb leads are remarked on when the electrodes of the two arms
are exchanged (I inverted, II with III, aVR with aVL) and all else is as it was.
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

UNUSABLE, ANYTHING = "not usable", "any remark, or not usable"
EXCHANGED = "remark limb-leads-swapped, arms exchanged"


def exchanged_arms(recording: Recording) -> Recording:
    """The recording as it would be with the electrodes of the two arms exchanged; its leads are in standard order."""
    counts = recording.counts[[0, 2, 1, 4, 3, *range(5, 12)]].astype(np.float64)
    counts[0] *= -1
    return dataclasses.replace(recording, counts=counts)


def account(path: Path) -> set[str]:
    """Repairs and remarks of one recording, by name, each once."""
    try:
        recording = read_recording(path)
        repairs = {f"repair {one.name}" for one in (*recording.repairs, *standard_leads(recording, "mV").repairs)}
        said = {f"remark {remark.name}" for remark in quality_warnings(recording)}
        if any(remark.name == "limb-leads-swapped" for remark in quality_warnings(exchanged_arms(recording))):
            repairs.add(EXCHANGED)
    except RecordingError:
        return {UNUSABLE, ANYTHING}
    return repairs | said | ({ANYTHING} if said else set())


def main(folder: str, index: str = "") -> None:
    """Prints a table: recordings that each repair and remark was found in, a column for each quality."""
    groups: dict[str, str] = {}
    if index:
        with Path(index).open(newline="") as file:
            groups = {row["record"]: row["quality"] for row in csv.DictReader(file)}
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for path in find_recordings(folder):
        found = account(path)
        counts[groups.get(path.stem, "all")].update({*found, "recordings"})
    names = sorted(
        {name for count in counts.values() for name in count} | {f"remark {name}" for name in QUALITY_WARNINGS}
    )
    print("| |", " | ".join(counts), "|")
    print("|---|" + "---|" * len(counts))
    for name in ["recordings", *(name for name in names if name != "recordings")]:
        print(f"| {name} |", " | ".join(str(count[name]) for count in counts.values()), "|")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python -m studies.quality FOLDER [INDEX.csv]")
    main(*sys.argv[1:])
