"""One-place changes of headers (a digit, a name, a line), and what becomes of each: never another signal in silence.

    python -m tests.ecg.header_changes FOLDER [--changes 3000] [--seed 1]

Takes the recordings of a folder in turn. Prints how many changes of each kind ended in which way, then those that
changed the networks' input, the scale or the frequency with nothing said; exits with 1 where there is one.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leadwise.ecg.preprocessing import prepare
from leadwise.ecg.recording import Recording, recording_from_arrays
from leadwise.ecg.repairs import RecordingError
from leadwise.recipes import SignalRecipe

SILENT = "another signal, in silence"
NAMES = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6", "X")


@dataclass(frozen=True, eq=False)
class Read:
    """A recording as the networks and its reader see it."""

    signal: tuple[Any, ...]  # the networks' input as bytes, sampling frequency, scale of each lead
    person: tuple[Any, ...]  # age, sex, diagnoses
    repairs: frozenset[str]


def read(text: str, counts: NDArray[Any]) -> Read:
    """A header's text and its counts (leads, samples), read. Raises RecordingError."""
    recording: Recording = recording_from_arrays(text, counts)
    signal, header = prepare(recording, SignalRecipe()), recording.header
    scale = sorted(zip(recording.lead_names, recording.adc_gain.tolist(), recording.baseline.tolist(), strict=True))
    return Read(
        (signal.values.tobytes(), recording.sampling_frequency, scale),
        (header.age, header.sex, header.codes),
        frozenset(repair.name for repair in (*recording.repairs, *signal.repairs)),
    )


def change(text: str, dice: random.Random) -> tuple[str, str]:
    """The kind of a change and the changed text, which differs from `text`."""
    lines, kind = text.splitlines(), dice.choice(("digit", "name", "line"))
    changed = lines
    while changed == lines:
        changed = {"digit": _digit, "name": _name, "line": _line}[kind](list(lines), dice)
    return kind, "\n".join(changed) + "\n"


def _digit(lines: list[str], dice: random.Random) -> list[str]:
    """Another digit in the place of one."""
    text = "\n".join(lines)
    place = dice.choice([match.start() for match in re.finditer("[0-9]", text)])
    return (text[:place] + dice.choice("0123456789") + text[place + 1 :]).split("\n")


def _name(lines: list[str], dice: random.Random) -> list[str]:
    """Another lead's name in the place of one, or another letter in a name: of a lead, a file or the record."""
    rows = [row for row, line in enumerate(lines) if not line.startswith("#")]
    row = dice.choice(rows)
    first, *between, last = lines[row].split(" ")
    if dice.random() < 0.5 and row != rows[0]:
        last = dice.choice(NAMES)
    elif dice.random() < 0.5 and row != rows[0]:
        last = _letter(last, dice)
    else:
        first = _letter(first, dice)
    lines[row] = " ".join((first, *between, last))
    return lines


def _letter(word: str, dice: random.Random) -> str:
    place = dice.randrange(len(word)) if word else 0
    return word[:place] + dice.choice("abcXYZV123") + word[place + 1 :]


def _line(lines: list[str], dice: random.Random) -> list[str]:
    """A line left out, written twice, or exchanged with another."""
    row, other = dice.randrange(len(lines)), dice.randrange(len(lines))
    how = dice.choice(("out", "twice", "exchanged"))
    if how == "exchanged":
        lines[row], lines[other] = lines[other], lines[row]
    else:
        lines[row : row + 1] = [] if how == "out" else [lines[row]] * 2
    return lines


def outcome(plain: Read, text: str, counts: NDArray[Any]) -> str:
    """What became of a changed header, beside the recording as it was."""
    try:
        found = read(text, counts)
    except RecordingError:
        return "refused"
    if found.repairs - plain.repairs:
        return "a named repair"
    if found.signal != plain.signal:
        return SILENT
    return "the same signal" if found.person == plain.person else "the same signal, another person or diagnosis"


def examples(folder: Path) -> list[tuple[str, NDArray[Any]]]:
    """Headers and counts of the recordings below a folder that can be read, up to a minute long."""
    return list(_examples(folder))


def _examples(folder: Path) -> Iterator[tuple[str, NDArray[Any]]]:
    from leadwise.ecg.recording import read_recording

    for path in sorted(folder.rglob("*.hea")):
        try:
            recording = read_recording(path)
        except RecordingError:
            continue
        if recording.counts.shape[1] <= 60 * recording.sampling_frequency:
            yield path.read_text(encoding="utf-8", errors="replace"), np.array(recording.counts)


def outcomes(
    recordings: list[tuple[str, NDArray[Any]]], changes: int, seed: int
) -> tuple[Counter[tuple[str, str]], list[str]]:
    """How many changes of each kind ended in which way, and the silent ones as text."""
    dice, counted, silent = random.Random(seed), Counter[tuple[str, str]](), []
    plain = [read(text, counts) for text, counts in recordings]
    for number in range(changes):
        text, counts = recordings[number % len(recordings)]
        kind, changed = change(text, dice)
        end = outcome(plain[number % len(recordings)], changed, counts)
        counted[kind, end] += 1
        if end == SILENT:
            lines = set(changed.splitlines()) - set(text.splitlines())
            silent.append(f"{text.split()[0]}: {' | '.join(sorted(lines)) or 'a line left out or moved'}")
    return counted, silent


def main() -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--changes", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    recordings = examples(options.folder)
    counted, silent = outcomes(recordings, options.changes, options.seed)
    print(f"{options.changes} changes of {len(recordings)} headers")
    for (kind, end), count in sorted(counted.items()):
        print(f"{count:6} {kind}: {end}")
    print("\n".join(silent))
    return 1 if silent else 0


if __name__ == "__main__":
    sys.exit(main())
