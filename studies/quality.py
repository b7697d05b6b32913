"""Count quality warnings on good, bad and purposely changed recordings: python -m studies.quality FOLDER [INDEX.csv]

Counts the quality warnings and the repairs over the recordings in FOLDER, by the column `quality` of INDEX.csv (its
column `record` has their names), or all together without an index. Each row "changed: ..." counts the recordings that
get the expected warning after a change: another unit or sampling frequency than declared, exchanged leads or
electrodes, a copied lead, three seconds, noise or mains hum in place of the signal.
"""

from __future__ import annotations

import csv
import dataclasses
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from leadwise.ecg.discovery import find_recordings
from leadwise.ecg.leads import STANDARD_LEADS, standard_leads
from leadwise.ecg.quality import QUALITY_WARNINGS, quality_warnings
from leadwise.ecg.recording import Recording, read_recording
from leadwise.ecg.repairs import RecordingError

UNUSABLE, ANY_WARNING = "not usable", "any warning, or not usable"
Change = Callable[[Recording], Recording]


def with_signal(recording: Recording, millivolts: NDArray[np.floating]) -> Recording:
    """Return the recording with another signal (leads, samples), in mV."""
    counts = millivolts * recording.adc_gain[:, None] + recording.baseline[:, None]
    return dataclasses.replace(recording, counts=counts.astype(np.float64))


def in_millivolts(recording: Recording) -> NDArray[np.float64]:
    """Return the signal of the file, (leads, samples), mV."""
    counts = np.asarray(recording.counts, np.float64)
    return np.asarray((counts - recording.baseline[:, None]) / recording.adc_gain[:, None])


def scaled(factor: float) -> Change:
    """Return a change of the unit: the same numbers mean `factor` times as much."""
    return lambda recording: with_signal(recording, factor * in_millivolts(recording))


def reordered(*leads: str) -> Change:
    """Return a change of order: the first standard leads become these."""
    rows = [*map(STANDARD_LEADS.index, leads), *range(len(leads), len(STANDARD_LEADS))]
    return lambda recording: with_signal(recording, in_millivolts(recording)[rows])


def with_electrodes(right_arm: int, left_arm: int, left_leg: int) -> Change:
    """Return an exchange of limb electrodes (0 right arm, 1 left arm, 2 left leg)."""

    def change(recording: Recording) -> Recording:
        i, ii, *others = in_millivolts(recording)
        potentials = np.array([np.zeros_like(i), i, ii])[[right_arm, left_arm, left_leg]]
        i, ii = potentials[1] - potentials[0], potentials[2] - potentials[0]
        limbs = [i, ii, ii - i, -(i + ii) / 2, i - ii / 2, ii - i / 2]
        return with_signal(recording, np.array([*limbs, *others[4:]]))

    return change


def declared(factor: float) -> Change:
    """Return a change of the declared sampling frequency."""

    def change(recording: Recording) -> Recording:
        frequency = recording.sampling_frequency * factor
        header = dataclasses.replace(recording.header, sampling_frequency=frequency)
        return dataclasses.replace(recording, header=header)

    return change


def first_seconds(seconds: float) -> Change:
    """Return a cut to the first seconds."""
    return lambda recording: dataclasses.replace(
        recording, counts=recording.counts[:, : round(seconds * recording.sampling_frequency)]
    )


def noise_alone(recording: Recording) -> Recording:
    """Return white noise of 0.1 mV in place of the ECG; limb leads fit together."""
    noise = np.random.default_rng(1).normal(0, 0.1, recording.counts.shape)
    return with_electrodes(0, 1, 2)(with_signal(recording, noise))


def hum_alone(recording: Recording) -> Recording:
    """Return mains hum of 50 Hz with a little noise in place of the ECG; limb leads fit together."""
    draws = np.random.default_rng(1)
    turns = 50 * np.arange(recording.counts.shape[1]) / recording.sampling_frequency
    hum = draws.uniform(0.05, 0.3, (len(recording.counts), 1)) * np.sin(2 * np.pi * turns + 0.3)
    noisy = hum + draws.normal(0, 0.003, recording.counts.shape)
    return with_electrodes(0, 1, 2)(with_signal(recording, noisy))


# The change, and the warning that it should give.
CHANGES: Final[dict[str, tuple[Change, str]]] = {
    "V for mV": (scaled(1e-3), "unit"),
    "uV for mV": (scaled(1e3), "unit"),
    "I and II exchanged": (reordered("II", "I"), "leads-contradict"),
    "aVL and aVF exchanged": (reordered("I", "II", "III", "aVR", "aVF", "aVL"), "leads-contradict"),
    "limb leads in Cabrera's order": (reordered("aVL", "I", "aVR", "II", "aVF", "III"), "leads-contradict"),
    "V1 copied to V2": (reordered(*STANDARD_LEADS[:7], "V1"), "leads-identical"),
    "electrodes of right and left arm exchanged": (with_electrodes(1, 0, 2), "limb-leads-swapped"),
    "electrodes of right arm and left leg exchanged": (with_electrodes(2, 1, 0), "limb-leads-swapped"),
    "first 3 s": (first_seconds(3), "short"),
    "declared as 0.2 of the frequency": (declared(0.2), "sampling-frequency"),
    "declared as half of the frequency": (declared(0.5), "sampling-frequency"),
    "declared as 0.72 of the frequency": (declared(0.72), "sampling-frequency"),
    "declared as twice the frequency": (declared(2), "sampling-frequency"),
    "white noise alone": (noise_alone, "hardly-an-ecg"),
    "mains hum alone": (hum_alone, "hardly-an-ecg"),
}


def detected(recording: Recording) -> set[str]:
    """Return the changes of a twelve-lead recording that give the expected warning, or any."""
    at_least_250 = {"recordings of 250 Hz or more"} if recording.sampling_frequency >= 250 else set()
    found = at_least_250 | {"recordings of twelve leads"}
    for name, (change, expected) in CHANGES.items():
        if expected == "sampling-frequency" and not at_least_250:
            continue
        try:
            warnings = {each.name for each in quality_warnings(change(recording))}
        except RecordingError:  # the signal that is left may be flat
            continue
        found |= {f"changed: {name}"} if expected in warnings else set()
        found |= {f"changed: {name}, any warning"} if warnings else set()
    return found


def findings(path: Path) -> set[str]:
    """Return the names of the repairs and quality warnings of one recording, and of the changes that are detected."""
    try:
        recording = read_recording(path)
        repairs = {f"repair {each.name}" for each in (*recording.repairs, *standard_leads(recording, "mV").repairs)}
        warnings = {f"warning {each.name}" for each in quality_warnings(recording)}
        changes = detected(recording) if recording.lead_names == STANDARD_LEADS else set()
    except RecordingError:
        return {UNUSABLE, ANY_WARNING}
    return repairs | warnings | changes | ({ANY_WARNING} if warnings else set())


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
