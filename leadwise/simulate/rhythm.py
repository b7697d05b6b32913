"""Simulate the heart's rhythm: the times and kinds of beats, and the waves of fibrillating or fluttering atria."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from leadwise.simulate.dipole import Array, direction
from leadwise.simulate.patient import Patient

Integers = NDArray[np.int64]

REGULAR, ATRIAL, VENTRICULAR = 0, 1, 2  # kinds of beats
SHORTEST = 0.33  # s; the atrioventricular node conducts nothing earlier
FLUTTER_RATE = 290.0  # /min, about which conduction of 2:1, 3:1 or 4:1 gives the ventricular rate


@dataclass(frozen=True, eq=False)
class Rhythm:
    """The beats of a recording, including some before and after it."""

    onset: Array  # (beats,) s: onset of QRS
    interval: Array  # (beats,) s: the RR interval that determines QT
    kind: Integers  # (beats,)
    breathing: Array  # (beats,) -1 to 1: phase of breathing
    flutter_cycle: float  # s; one turn of the atria


def _flutter_intervals(patient: Patient, beats: int, rng: Generator) -> tuple[Array, float]:
    """Return RR intervals of whole flutter cycles, of a fixed or varying number; and the cycle."""
    ratio = max(2, round(FLUTTER_RATE / patient.heart_rate))
    cycle = 60 / patient.heart_rate / ratio
    ratios = np.full(beats, ratio)
    if rng.random() < 0.4:
        ratios = np.maximum(2, ratio + rng.integers(-1, 2, size=beats))
    return ratios * cycle, cycle


def _regular_intervals(patient: Patient, beats: int, rate: float, phase: float, rng: Generator) -> Array:
    """Return RR intervals that vary with breathing (`rate` in Hz)."""
    mean = 60 / patient.heart_rate
    breath = np.sin(2 * math.pi * rate * mean * np.arange(beats) + phase)
    jitter = min(0.008, patient.irregularity) * rng.normal(size=beats)
    return np.asarray(mean * (1 + patient.irregularity * breath + jitter))


def _fibrillation_intervals(patient: Patient, beats: int, rng: Generator) -> Array:
    """Return independent lognormal RR intervals, not below `SHORTEST`."""
    mean, spread = 60 / patient.heart_rate, rng.uniform(0.18, 0.28)
    intervals = np.maximum(SHORTEST, mean * np.exp(spread * rng.normal(size=beats)))
    return np.asarray(intervals * mean / intervals.mean()).clip(SHORTEST)


def _choose_premature(rate: float, free: NDArray[np.bool_], interval: float, rng: Generator) -> Integers:
    """Choose premature beats (`rate` in 10 s) among the free ones: at least one, never two in a row."""
    places = np.nonzero(free)[0]
    wanted = max(1, round(rate * len(places) * interval / 10))
    chosen: list[int] = []
    for place in rng.permutation(places):
        if len(chosen) == wanted:
            break
        if not {place - 1, place + 1} & set(chosen):
            chosen.append(int(place))
    return np.array(sorted(chosen), dtype=np.int64)


def _add_premature(patient: Patient, intervals: Array, start: float, seconds: float, rng: Generator) -> Integers:
    """Make some beats premature, in place; return the kind of each beat."""
    kind = np.full(len(intervals), REGULAR)
    typical = float(np.median(intervals))
    for rate, name in ((patient.pac, ATRIAL), (patient.pvc, VENTRICULAR)):
        if rate == 0:
            continue
        onset = start + np.cumsum(intervals)
        # Inside the recording with its neighbours, so that it is seen to be early; anywhere in very short recordings.
        inside = (onset > min(1.2 * typical + 0.4, seconds / 3)) & (onset < max(seconds - 1.2 * typical, seconds / 2))
        beside = np.convolve(kind != REGULAR, [1, 1, 1], mode="same") > 0
        chosen = _choose_premature(rate, inside & ~beside, typical, rng)
        early = np.minimum(rng.uniform(0.27, 0.42) + 0.02 * rng.normal(size=len(chosen)), 1 - SHORTEST / typical)
        early = np.maximum(early, 0.2)
        intervals[chosen] = typical * (1 - early)
        # The pause after a ventricular beat is compensatory, that after an atrial one shorter.
        intervals[chosen + 1] = typical * (1 + early if name == VENTRICULAR else rng.uniform(1.0, 1.12))
        kind[chosen] = name
    return kind


def make_rhythm(patient: Patient, seconds: float, rng: Generator) -> Rhythm:
    """Draw the beats of the patient's rhythm, from two seconds before to two seconds after a recording."""
    rate, phase = rng.uniform(0.16, 0.28), rng.uniform(0, 2 * math.pi)  # breaths a second
    mean, cycle = 60 / patient.heart_rate, 0.0
    beats = math.ceil((seconds + 5) / mean * 1.6) + 4
    if patient.rhythm == "fibrillation":
        intervals = _fibrillation_intervals(patient, beats, rng)
    elif patient.rhythm == "flutter":
        intervals, cycle = _flutter_intervals(patient, beats, rng)
    else:
        intervals = _regular_intervals(patient, beats, rate, phase, rng)
    start = -2.0 - rng.random() * mean
    steady = (intervals + mean) / 2 if patient.rhythm == "fibrillation" else intervals.copy()
    kind = _add_premature(patient, intervals, start, seconds, rng)
    onset = start + np.cumsum(intervals)
    near = onset < seconds + 2
    return Rhythm(onset[near], steady[near], kind[near], np.sin(2 * math.pi * rate * onset + phase)[near], cycle)


def fibrillatory_waves(times: Array, rng: Generator) -> Array:
    """Return the dipole (3, times) of fibrillating atria: 4 to 9 waves a second, varying in rate and size."""
    dipole = np.zeros((3, len(times)))
    coarse = rng.uniform(0.02, 0.06)
    for share in (1.0, 0.7, 0.5):
        frequency, wander = rng.uniform(4.5, 8), rng.uniform(0.2, 0.6)
        turn = 2 * math.pi * frequency * times + 2.5 * np.sin(2 * math.pi * wander * times + rng.uniform(0, 6))
        swell = 1 + 0.8 * np.sin(2 * math.pi * rng.uniform(0.2, 1.1) * times + rng.uniform(0, 6))
        size = share * coarse
        along = direction(rng.uniform(30, 110), size, -1.2 * size)
        across = direction(rng.uniform(30, 110), 0.5 * size, 0.5 * size)
        dipole += np.outer(along, swell * (np.sin(turn) + 0.3 * np.sin(2 * turn + 1)))
        dipole += np.outer(across, swell * np.cos(turn))
    return dipole


def flutter_waves(times: Array, rhythm: Rhythm, rng: Generator) -> Array:
    """Return the dipole (3, times) of fluttering atria: a sawtooth in phase with QRS, slowly down and steeply up."""
    turn = 2 * math.pi * ((times - float(rhythm.onset[0])) / rhythm.flutter_cycle + rng.random())
    harmonics = np.arange(1, 5)[:, None]
    # A falling ramp whose overtones decay, so that it does not ring.
    saw = (np.sin(harmonics * turn) / harmonics * np.exp(-0.15 * harmonics**2)).sum(axis=0)
    bump = (np.cos(harmonics * turn + 0.9) / harmonics * np.exp(-0.4 * harmonics**2)).sum(axis=0)
    size = rng.uniform(0.11, 0.19)
    feet = direction(85 + 8 * rng.normal(), size, 0.0)
    front = direction(0.0, 0.1 * size, -rng.uniform(0.5, 0.9) * size)
    return np.asarray(np.outer(feet, saw) + np.outer(front, bump))
