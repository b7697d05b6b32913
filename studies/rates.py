"""Count sinus bradycardia labels by heart rate: python -m studies.rates FOLDER...

For each folder of recordings, prints the number of recordings and of labels in each range of heart rates, measured in
the signal. The textbook criterion is below 60 per minute; hospitals use other limits.
"""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np

from leadwise.challenge.classes import find_diagnosis
from leadwise.ecg.discovery import find_recordings
from leadwise.ecg.heart_rate import heart_rate
from leadwise.ecg.preprocessing import prepare
from leadwise.ecg.recording import read_recording
from leadwise.ecg.repairs import RecordingError
from leadwise.recipes import SignalRecipe

SIGNAL = SignalRecipe(sampling_frequency=250, unit="mV", resampling="polyphase")
EDGES = (0, 45, 50, 55, 60, 65, 75)  # beats per minute


def main(folder: Path) -> None:
    """Print the table of one folder."""
    rates, labelled = [], []
    code = find_diagnosis("SB").code
    for path in find_recordings(folder):
        try:
            recording = read_recording(path)
            rate = heart_rate(prepare(recording, SIGNAL).values, SIGNAL.sampling_frequency)
        except RecordingError:
            continue
        if rate is not None:
            rates.append(rate)
            labelled.append(code in recording.header.codes)
    bins = np.digitize(rates, EDGES)
    print(folder)
    for k, (low, high) in enumerate(pairwise(EDGES), start=1):
        inside = np.array(labelled)[bins == k]
        print(f"  {low:3} to {high:3} beats a minute: {len(inside):5} recordings, {inside.sum():4} sinus bradycardia")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python -m studies.rates FOLDER...")
    try:
        for name in sys.argv[1:]:
            main(Path(name))
    except (ValueError, OSError) as error:
        sys.exit(f"studies.rates: {error}")
