"""Simulate one ECG, from diagnoses and a seed to twelve leads in mV."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from leadwise.simulate import heartbeat
from leadwise.simulate.dipole import ATRIAL_GAINS, DOWER, Array, Waves, join, render, twelve_leads
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


def _repeat(waves: Waves, starts: Array, gains: Array, stretch: Array) -> Waves:
    """Repeat a template for each beat: times (ms) times `stretch` after `starts` (s), vectors times `gains`."""
    centre, rise, fall = (np.outer(stretch, ms / 1000).ravel() for ms in (waves.centre, waves.rise, waves.fall))
    vector = (gains[:, None, None] * waves.vector).reshape(-1, 3)
    return Waves(centre + np.repeat(starts, len(waves.centre)), rise, fall, vector)


def _chamber_waves(
    patient: Patient, rhythm: Rhythm, beats: dict[int, heartbeat.Beat], depth: float
) -> tuple[Waves, Waves]:
    """Return all waves of the atria and of the ventricles, times in seconds; `depth`: amplitude change by breathing."""
    atria, ventricles = [], []
    for kind, beat in beats.items():
        chosen = rhythm.kind == kind
        onset, interval = rhythm.onset[chosen], rhythm.interval[chosen]
        gains = 1 + depth * rhythm.breathing[chosen]
        # Bazett: QT grows with the root of RR; a wide ectopic QRS ends later, and its T with it.
        end_of_t = onset + patient.qtc / 1000 * np.sqrt(interval) + (0.04 if kind == VENTRICULAR else 0.0)
        # A fast heart shortens a long PR: P stays in the second half of the interval.
        shortening = np.minimum(1.0, 500 * interval / max(patient.pr, 1.0))
        ventricles.append(_repeat(beat.qrs, onset, gains, np.ones(len(onset))))
        ventricles.append(_repeat(beat.t, end_of_t, gains, np.sqrt(interval).clip(0.7, 1.15)))
        atria.append(_repeat(beat.p, onset, gains, shortening))
    return join(*atria), join(*ventricles)


def _lead_matrix(rng: Generator) -> Array:
    """Draw Dower's matrix (8, 3) for one chest, in which the six chest electrodes lie slightly differently."""
    matrix = DOWER.copy()
    matrix[2:] *= np.exp(0.12 * rng.normal(size=(6, 1)))
    matrix[2:] += 0.06 * np.linalg.norm(DOWER[2:], axis=1, keepdims=True) * rng.normal(size=(6, 3))
    return matrix


def _heart(patient: Patient, matrix: Array, sampling_frequency: float, samples: int, rng: Generator) -> Array:
    """Return the leads I, II, V1 ... V6 (8, samples) without noise."""
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
        atria += flutter_waves(times, rhythm, waves)
    return np.asarray(matrix @ ventricles + (matrix * ATRIAL_GAINS[:, None]) @ atria)


def simulate(
    diagnosis: str | Sequence[str],
    seed: int,
    sampling_frequency: float = 500,
    seconds: float = 10,
    *,
    noise: float = 1.0,
    mains: float = 50.0,
) -> NDArray[np.float32]:
    """Simulate an ECG that shows one diagnosis, or several together.

    Parameters
    ----------
    diagnosis : str or sequence of str
        SNOMED CT codes or abbreviations of the Challenge; an empty list gives a healthy heart.
    seed : int
        Same arguments, same signal. Another sampling frequency or noise records the same heart.
    sampling_frequency, seconds : float
        In Hz, and length; the number of samples is rounded.
    noise, mains : float
        Factor of baseline wander, mains hum and muscle noise (0: none, 1: routine); frequency of the hum, Hz.

    Returns
    -------
    ndarray of float32, (12, samples)
        Leads in standard order (I, II, III, aVR, aVL, aVF, V1 to V6), mV.

    Raises
    ------
    ValueError
        If diagnoses are unknown or contradict each other, a frequency or length is not positive, or noise is negative.

    Examples
    --------
    >>> simulate("AF", seed=1, sampling_frequency=300, seconds=12).shape
    (12, 3600)
    """
    samples = round(seconds * sampling_frequency) if math.isfinite(seconds * sampling_frequency) else 0
    if not (sampling_frequency > 0 and seconds > 0 and samples > 0):
        raise ValueError(f"an ECG of {seconds} s at {sampling_frequency} Hz has no samples")
    if noise < 0:
        raise ValueError(f"noise is a factor of 0 or more, not {noise}")
    patient_rng, heart_rng, noise_rng = np.random.default_rng(seed).spawn(3)
    patient = draw_patient(diagnoses_of(diagnosis), patient_rng)
    eight = _heart(patient, _lead_matrix(patient_rng), sampling_frequency, samples, heart_rng)
    if noise > 0:
        eight += noise * lead_noise(sampling_frequency, samples, mains, noise_rng)
    return twelve_leads(eight)
