"""Simulate the noise of a recording: baseline wander, mains hum and muscle noise at the electrodes."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator

from leadwise.simulate.dipole import ELECTRODES, Array

# Median and spread (of the logarithm) of the amplitudes at an electrode, mV: clean to poor routine recordings.
BASELINE = (0.05, 0.7)
MAINS = (0.003, 0.9)
MUSCLE = (0.007, 0.6)
MUSCLE_BAND = (20.0, 150.0)  # Hz


def _amplitude(median_and_spread: tuple[float, float], rng: Generator) -> float:
    median, spread = median_and_spread
    return float(median * np.exp(spread * rng.normal()))


def _baseline_wander(time: Array, rng: Generator) -> Array:
    """Return slow drift (9, samples) below 0.6 Hz, from breathing and movement."""
    frequency = rng.uniform([0.03, 0.08, 0.15, 0.3], [0.08, 0.15, 0.3, 0.6])
    basis = np.concatenate([f(2 * math.pi * frequency[:, None] * time) for f in (np.sin, np.cos)])  # (8, samples)
    weights = rng.normal(size=(9, 8)) * np.tile([1.0, 0.7, 0.5, 0.2], 2)
    return np.asarray(_amplitude(BASELINE, rng) * weights @ basis)


def _mains_hum(time: Array, sampling_frequency: float, mains: float, rng: Generator) -> Array:
    """Return hum (9, samples) with its third harmonic; without components above 0.45 of the sampling frequency."""
    hum = np.zeros((9, len(time)))
    amplitude = _amplitude(MAINS, rng)
    for harmonic, share in ((1, 1.0), (3, 0.2)):
        if harmonic * mains < 0.45 * sampling_frequency:
            phase = rng.uniform(0, 2 * math.pi) + rng.normal(0, 0.3, size=9)
            gain = amplitude * share * np.exp(0.5 * rng.normal(size=9))
            turn = 2 * math.pi * harmonic * mains * time
            hum += np.outer(gain * np.cos(phase), np.sin(turn)) + np.outer(gain * np.sin(phase), np.cos(turn))
    return hum


def _muscle_noise(time: Array, sampling_frequency: float, rng: Generator) -> Array:
    """Return band-limited Gaussian noise (9, samples), independent at each electrode, of slowly varying amplitude."""
    white = rng.standard_normal((9, len(time)), dtype=np.float32)
    frequency = np.fft.rfftfreq(len(time), 1 / sampling_frequency)
    low, high = MUSCLE_BAND
    response = (frequency / low) / np.hypot(1, frequency / low) / np.hypot(1, (frequency / high) ** 2)
    shaped = np.fft.irfft(np.fft.rfft(white, axis=1) * response.astype(np.float32), n=len(time), axis=1)
    swelling = 1 + 0.5 * np.sin(2 * math.pi * rng.uniform(0.05, 0.3) * time + rng.uniform(0, 2 * math.pi))
    return np.asarray(shaped * swelling * (_amplitude(MUSCLE, rng) * np.exp(0.4 * rng.normal(size=(9, 1)))))


def lead_noise(sampling_frequency: float, samples: int, mains: float, rng: Generator) -> Array:
    """Return all noise in the leads I, II, V1 ... V6 (8, samples), mV, with amplitudes drawn for the recording."""
    time = np.arange(samples) / sampling_frequency
    electrodes = _baseline_wander(time, rng) + _mains_hum(time, sampling_frequency, mains, rng)
    electrodes += _muscle_noise(time, sampling_frequency, rng)
    return np.asarray(ELECTRODES @ electrodes)  # differences of electrodes: Einthoven's law holds for noise too
