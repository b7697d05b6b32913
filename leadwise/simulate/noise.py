"""What an ECG machine records besides the heart: baseline wander, mains hum, muscle noise. Knows no hearts.

Noise arises at the electrodes; the leads see differences of electrodes, so Einthoven's law holds for the noise too.
"""

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


def _amplitude(median_and_spread: tuple[float, float], rng: Generator, size: int | None = None) -> Array:
    median, spread = median_and_spread
    return np.asarray(median * np.exp(spread * rng.normal(size=size)))


def baseline_wander(sampling_frequency: float, samples: int, rng: Generator) -> Array:
    """Slow drift of the electrodes (9, samples), mV: breathing and movement, below 0.6 Hz."""
    time = np.arange(samples) / sampling_frequency
    frequency = rng.uniform([0.03, 0.08, 0.15, 0.3], [0.08, 0.15, 0.3, 0.6])
    basis = np.concatenate([f(2 * math.pi * frequency[:, None] * time) for f in (np.sin, np.cos)])  # (8, samples)
    weights = rng.normal(size=(9, 8)) * np.tile([1.0, 0.7, 0.5, 0.2], 2)
    result: Array = _amplitude(BASELINE, rng) * weights @ basis
    return result


def mains_hum(sampling_frequency: float, samples: int, mains: float, rng: Generator) -> Array:
    """Hum of the mains (9, samples), mV, with its third harmonic; left out where the sampling cannot hold it."""
    time = np.arange(samples) / sampling_frequency
    hum = np.zeros((9, samples))
    amplitude = _amplitude(MAINS, rng)
    for harmonic, share in ((1, 1.0), (3, 0.2)):
        if harmonic * mains < 0.45 * sampling_frequency:
            phase = rng.uniform(0, 2 * math.pi) + rng.normal(0, 0.3, size=9)
            gain = amplitude * share * np.exp(0.5 * rng.normal(size=9))
            turn = 2 * math.pi * harmonic * mains * time
            hum += np.outer(gain * np.cos(phase), np.sin(turn)) + np.outer(gain * np.sin(phase), np.cos(turn))
    return hum


def muscle_noise(sampling_frequency: float, samples: int, rng: Generator) -> Array:
    """Muscle noise (9, samples), mV: band-limited Gaussian noise of its own at each electrode, swelling and fading."""
    white = rng.standard_normal((9, samples), dtype=np.float32)
    frequency = np.fft.rfftfreq(samples, 1 / sampling_frequency)
    low, high = MUSCLE_BAND
    # first-order edges on both sides; at low sampling frequencies what lies above their half is simply not there
    response = (frequency / low) / np.hypot(1, frequency / low) / np.hypot(1, (frequency / high) ** 2)
    shaped = np.fft.irfft(np.fft.rfft(white, axis=1) * response.astype(np.float32), n=samples, axis=1)
    time = np.arange(samples) / sampling_frequency
    swelling = 1 + 0.5 * np.sin(2 * math.pi * rng.uniform(0.05, 0.3) * time + rng.uniform(0, 2 * math.pi))
    return np.asarray(shaped * swelling * (_amplitude(MUSCLE, rng) * np.exp(0.4 * rng.normal(size=(9, 1)))))


def lead_noise(sampling_frequency: float, samples: int, mains: float, rng: Generator) -> Array:
    """All noise as the leads I, II, V1 ... V6 see it (8, samples), mV; every recording has its own amplitudes."""
    electrodes = baseline_wander(sampling_frequency, samples, rng)
    electrodes += mains_hum(sampling_frequency, samples, mains, rng)
    electrodes += muscle_noise(sampling_frequency, samples, rng)
    result: Array = ELECTRODES @ electrodes
    return result
