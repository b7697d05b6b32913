"""From which heart rate down do readers write *sinus bradycardia*? python -m studies.rates FOLDER...

For each folder of recordings, by heart rate (found in the signal), how many there are and how many have the label.
Textbooks say 60 a minute; hospitals do as they are used to.
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
EDGES = (0, 45, 50, 55, 60, 65, 75)  # beats a minute


def main(folder: Path) -> None:
    """Prints the table of one folder."""
    rates, label_prevalence = [], []
    code = find_diagnosis("SB").code
    for path in find_recordings(folder):
        try:
            recording = read_recording(path)
            rate = heart_rate(prepare(recording, SIGNAL).values, SIGNAL.sampling_frequency)
        except RecordingError:
            continue
        if rate is not None:
            rates.append(rate)
            label_prevalence.append(code in recording.header.codes)
    place = np.digitize(rates, EDGES)
    print(folder)
    for k, (low, high) in enumerate(pairwise(EDGES), start=1):
        mine = np.array(label_prevalence)[place == k]
        print(f"  {low:3} to {high:3} beats a minute: {len(mine):5} recordings, {mine.sum():4} sinus bradycardia")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python -m studies.rates FOLDER...")
    for name in sys.argv[1:]:
        main(Path(name))
