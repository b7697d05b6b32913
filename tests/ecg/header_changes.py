"""Change headers in one place (a digit, a name, a line) and count the outcomes: never another signal unnoticed.

    python -m tests.ecg.header_changes FOLDER [--changes 3000] [--seed 1]

Takes the recordings of a folder in turn. Prints how many changes of each kind had which outcome, then those that
changed the network's input, the scale or the frequency without a repair; exits with 1 if there are any.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leadwise.ecg.preprocessing import prepare
from leadwise.ecg.recording import Recording, read_recording, recording_from_arrays
from leadwise.ecg.repairs import RecordingError
from leadwise.recipes import SignalRecipe

UNNOTICED = "another signal, unnoticed"
NAMES = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6", "X")


@dataclass(frozen=True, eq=False)
class Read:
    """Hold a recording as the network and a human reader see it."""

    signal: tuple[Any, ...]  # the network's input as bytes, sampling frequency, scale of each lead
    person: tuple[Any, ...]  # age, sex, diagnoses
    repairs: frozenset[str]


def read(text: str, counts: NDArray[Any]) -> Read:
    """Read a header's text and counts (leads, samples). Raises RecordingError."""
    recording: Recording = recording_from_arrays(text, counts)
    signal, header = prepare(recording, SignalRecipe()), recording.header
    scale = sorted(zip(recording.lead_names, recording.adc_gain.tolist(), recording.baseline.tolist(), strict=True))
    return Read(
        (signal.values.tobytes(), recording.sampling_frequency, scale),
        (header.age, header.sex, header.codes),
        frozenset(repair.name for repair in (*recording.repairs, *signal.repairs)),
    )


def change(text: str, rng: random.Random) -> tuple[str, str]:
    """Return the kind of a random change and the changed text, which differs from `text`."""
    lines, kind = text.splitlines(), rng.choice(("digit", "name", "line"))
    changed = lines
    while changed == lines:
        changed = {"digit": _digit, "name": _name, "line": _line}[kind](list(lines), rng)
    return kind, "\n".join(changed) + "\n"


def _digit(lines: list[str], rng: random.Random) -> list[str]:
    """Replace one digit."""
    text = "\n".join(lines)
    place = rng.choice([match.start() for match in re.finditer("[0-9]", text)])
    return (text[:place] + rng.choice("0123456789") + text[place + 1 :]).split("\n")


def _name(lines: list[str], rng: random.Random) -> list[str]:
    """Replace a lead's name, or a letter in the name of a lead, a file or the record."""
    rows = [row for row, line in enumerate(lines) if not line.startswith("#")]
    row = rng.choice(rows)
    first, *between, last = lines[row].split(" ")
    if rng.random() < 0.5 and row != rows[0]:
        last = rng.choice(NAMES)
    elif rng.random() < 0.5 and row != rows[0]:
        last = _letter(last, rng)
    else:
        first = _letter(first, rng)
    lines[row] = " ".join((first, *between, last))
    return lines


def _letter(word: str, rng: random.Random) -> str:
    place = rng.randrange(len(word)) if word else 0
    return word[:place] + rng.choice("abcXYZV123") + word[place + 1 :]


def _line(lines: list[str], rng: random.Random) -> list[str]:
    """Leave out a line, write it twice, or exchange it with another."""
    row, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    action = rng.choice(("out", "twice", "exchanged"))
    if action == "exchanged":
        lines[row], lines[other] = lines[other], lines[row]
    else:
        lines[row : row + 1] = [] if action == "out" else [lines[row]] * 2
    return lines


def outcome(plain: Read, text: str, counts: NDArray[Any]) -> str:
    """Return the outcome of a changed header, compared with the original recording."""
    try:
        found = read(text, counts)
    except RecordingError:
        return "refused"
    if found.repairs - plain.repairs:
        return "a named repair"
    if found.signal != plain.signal:
        return UNNOTICED
    return "the same signal" if found.person == plain.person else "the same signal, another person or diagnosis"


def examples(folder: Path) -> list[tuple[str, NDArray[Any]]]:
    """Return headers and counts of the readable recordings below a folder, up to a minute long."""
    found = []
    for path in sorted(folder.rglob("*.hea")):
        try:
            recording = read_recording(path)
        except RecordingError:
            continue
        if recording.counts.shape[1] <= 60 * recording.sampling_frequency:
            found.append((path.read_text(encoding="utf-8", errors="replace"), np.array(recording.counts)))
    return found


def outcomes(
    recordings: list[tuple[str, NDArray[Any]]], changes: int, seed: int
) -> tuple[Counter[tuple[str, str]], list[str]]:
    """Return the number of changes of each kind and outcome, and the unnoticed ones as text."""
    rng, counted, unnoticed = random.Random(seed), Counter[tuple[str, str]](), []
    plain = [read(text, counts) for text, counts in recordings]
    for number in range(changes):
        text, counts = recordings[number % len(recordings)]
        kind, changed = change(text, rng)
        result = outcome(plain[number % len(recordings)], changed, counts)
        counted[kind, result] += 1
        if result == UNNOTICED:
            lines = set(changed.splitlines()) - set(text.splitlines())
            unnoticed.append(f"{text.split()[0]}: {' | '.join(sorted(lines)) or 'a line left out or moved'}")
    return counted, unnoticed


def main() -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--changes", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    recordings = examples(options.folder)
    counted, unnoticed = outcomes(recordings, options.changes, options.seed)
    print(f"{options.changes} changes of {len(recordings)} headers")
    for (kind, result), count in sorted(counted.items()):
        print(f"{count:6} {kind}: {result}")
    print("\n".join(unnoticed))
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())
