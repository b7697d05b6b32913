"""One simulated ECG, from diagnoses and a seed to twelve leads in mV. Knows no files."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from leadwise.simulate import heartbeat
from leadwise.simulate.dipole import ATRIAL_GAINS, DOWER, Array, Waves, join, render, twelve_leads
from leadwise.simulate.heartbeat import Beat
from leadwise.simulate.noise import lead_noise
from leadwise.simulate.patient import Patient, diagnoses_of, draw_patient
from leadwise.simulate.rhythm import (
    ATRIAL,
    REGULAR,
    VENTRICULAR,
    Rhythm,
    fibrillatory_waves,
    flutter_waves,
    make_rhythm,
)


def _laid_out(waves: Waves, starts: Array, gains: Array, squeeze: Array) -> Waves:
    """A template's waves once for each beat: times (ms, times `squeeze`) after `starts` (s), vectors times `gains`."""

    def spread(values: Array) -> Array:
        return np.outer(squeeze, values / 1000).ravel()

    centre = spread(waves.centre) + np.repeat(starts, len(waves))
    vector = (gains[:, None, None] * waves.vector).reshape(-1, 3)
    return Waves(centre, spread(waves.rise), spread(waves.fall), vector)


def _chamber_waves(patient: Patient, rhythm: Rhythm, beats: dict[int, Beat], depth: float) -> tuple[Waves, Waves]:
    """Every wave of every beat, of the atria and of the ventricles; times in seconds.

    `depth`: how much breathing changes the height of the beats.
    """
    atria, ventricles = [], []
    for kind, beat in beats.items():
        chosen = rhythm.kind == kind
        onset, interval = rhythm.onset[chosen], rhythm.interval[chosen]
        gains = 1 + depth * rhythm.breathing[chosen]
        # Bazett: QT grows with the root of RR; a wide ectopic QRS ends later, and its T with it.
        end_of_t = onset + patient.qtc / 1000 * np.sqrt(interval) + (0.04 if kind == VENTRICULAR else 0.0)
        # A long PR of a fast heart gets shorter: P stays in the second half of the interval.
        nearer = np.minimum(1.0, 500 * interval / max(patient.pr, 1.0))
        ventricles.append(_laid_out(beat.qrs, onset, gains, np.ones(len(onset))))
        ventricles.append(_laid_out(beat.t, end_of_t, gains, np.sqrt(interval).clip(0.7, 1.15)))
        atria.append(_laid_out(beat.p, onset, gains, nearer))
    return join(*atria), join(*ventricles)


def _lead_matrix(rng: Generator) -> Array:
    """Dower's matrix for this chest: the six chest electrodes lie a little differently in everyone. (8, 3)"""
    matrix = DOWER.copy()
    matrix[2:] *= np.exp(0.12 * rng.normal(size=(6, 1)))
    matrix[2:] += 0.06 * np.linalg.norm(DOWER[2:], axis=1, keepdims=True) * rng.normal(size=(6, 3))
    return matrix


def _heart(
    patient: Patient, matrix: Array, sampling_frequency: float, samples: int, rng: Generator
) -> tuple[Array, Array]:
    """The dipoles of the atria and of the ventricles over the whole recording, (3, samples) each."""
    shape, timing, waves = rng.spawn(3)
    regular = heartbeat.regular_beat(patient, matrix, shape)
    beats = {
        REGULAR: regular,
        ATRIAL: heartbeat.atrial_premature_beat(patient, regular, shape),
        VENTRICULAR: heartbeat.ventricular_premature_beat(patient, matrix, shape),
    }
    rhythm = make_rhythm(patient, samples / sampling_frequency, timing)
    chambers = _chamber_waves(patient, rhythm, beats, depth=shape.uniform(0.0, 0.05))
    atria, ventricles = (render(part, sampling_frequency, samples) for part in chambers)
    times = np.arange(samples) / sampling_frequency
    if patient.rhythm == "fibrillation":
        atria += fibrillatory_waves(times, waves)
    elif patient.rhythm == "flutter":
        atria += flutter_waves(times, float(rhythm.onset[0]), rhythm.flutter_cycle, waves)
    return atria, ventricles


def simulate(
    diagnosis: str | Sequence[str],
    seed: int,
    sampling_frequency: float = 500,
    seconds: float = 10,
    *,
    noise: float = 1.0,
    mains: float = 50.0,
) -> NDArray[np.float32]:
    """An ECG (12, samples) in mV that shows one diagnosis, or several together.

    `diagnosis`: SNOMED CT codes or abbreviations of the Challenge; an empty list gives a healthy heart. `noise` scales
    baseline wander, mains hum (of `mains` Hz) and muscle noise: 1 is a routine recording, 0 none. Samples: seconds x
    sampling_frequency, rounded. The same arguments give the same signal; another sampling frequency or noise the same
    heart. Leads in standard order (`dipole.LEADS`). Raises ValueError for diagnoses that are unknown or contradict each
    other, and for a frequency or length that is not positive.
    """
    samples = round(seconds * sampling_frequency) if math.isfinite(seconds * sampling_frequency) else 0
    if not (sampling_frequency > 0 and seconds > 0 and samples > 0):
        raise ValueError(f"an ECG of {seconds} s at {sampling_frequency} Hz has no samples")
    if noise < 0:
        raise ValueError(f"noise is a factor of 0 or more, not {noise}")
    who, heart, machine = np.random.default_rng(seed).spawn(3)
    patient = draw_patient(diagnoses_of(diagnosis), who)
    matrix = _lead_matrix(who)
    atria, ventricles = _heart(patient, matrix, sampling_frequency, samples, heart)
    eight = matrix @ ventricles + (matrix * ATRIAL_GAINS[:, None]) @ atria
    if noise > 0:
        eight += noise * lead_noise(sampling_frequency, samples, mains, machine)
    return twelve_leads(eight)
