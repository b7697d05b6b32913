"""Estimate heartbeats and heart rate from the signal, for the line above an ECG; not for monitoring."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import find_peaks, sosfiltfilt

from leadwise.ecg.preprocessing import band_pass_filter
from leadwise.util.arrays import median

PASS_BAND = (5.0, 20.0)  # Hz; most of QRS, little of P, T, wander and mains (Pan and Tompkins 1985: 5 to 15)
SMOOTHING = 0.10  # s; about the width of QRS, so that each complex becomes one peak
REFRACTORY = 0.24  # s; minimum distance of two beats, 250 a minute
T_WAVE = 0.40  # s; a much smaller peak within this time after a beat is its T wave
MIN_SECONDS = 2.0
MIN_ENVELOPE = 0.005  # mV; a lead's median envelope below this is rounding, not noise
MIN_PROMINENCE = 2.5  # times the median envelope; white noise reaches 1.5

Array = NDArray[np.float64]


def heart_rate(signal_mV: NDArray[np.floating], sampling_frequency: float) -> float | None:
    """Return the mean heart rate (beats a minute) of (leads, samples) in mV, with zeros for missing leads; None with
    fewer than three clear beats. Raises ValueError as `find_beats` does."""
    beats = find_beats(signal_mV, sampling_frequency)
    return float(60 * (len(beats) - 1) / (beats[-1] - beats[0])) if len(beats) >= 3 else None


def find_beats(signal_mV: NDArray[np.floating], sampling_frequency: float) -> Array:
    """Return the middle of each QRS complex in seconds, as most of the leads (leads, samples) show it: none if no beats
    are clear or the signal is shorter than two seconds. Raises ValueError for NaN, infinity or less than 20 Hz."""
    signal = np.asarray(signal_mV, np.float64)
    if signal.ndim != 2 or not np.isfinite(signal).all():
        raise ValueError("the signal must be (leads, samples), without NaN or infinite values")
    if not 20 <= sampling_frequency < np.inf:
        raise ValueError(f"a sampling frequency of {sampling_frequency:g} Hz shows no heartbeats")
    if signal.shape[1] < MIN_SECONDS * sampling_frequency:
        return np.zeros(0)
    return beats_in_envelope(_envelope(signal, sampling_frequency), sampling_frequency)


def beats_in_envelope(envelope: Array, sampling_frequency: float) -> Array:
    """Return the beats in seconds from an amplitude (samples,) that has a peak at each QRS complex, of two seconds or
    more: none if the peaks do not stand out."""
    peaks, _ = find_peaks(envelope, distance=max(1, round(REFRACTORY * sampling_frequency)))
    peaks = peaks[envelope[peaks] > _threshold(envelope, sampling_frequency)]
    return _without_t(peaks, envelope, sampling_frequency) / sampling_frequency


def _envelope(signal: Array, sampling_frequency: float) -> Array:
    """Return the amplitude in the band of QRS, (samples,): of each lead in units of its median, so that noise weighs
    little, then the median over the leads, which ignores a few bad electrodes."""
    band = (PASS_BAND[0], min(PASS_BAND[1], 0.4 * sampling_frequency))
    sections, _ = band_pass_filter(float(sampling_frequency), band)
    filtered = sosfiltfilt(sections, signal, axis=1)
    window = np.hanning(max(1, round(SMOOTHING * sampling_frequency)) + 2)[1:-1]
    window /= window.sum()
    leads = np.stack([np.sqrt(np.convolve(lead**2, window, mode="same")) for lead in filtered])
    present = np.ptp(signal, axis=1) > 0
    if not present.any():
        return np.zeros(signal.shape[1])
    units = np.maximum(median(leads, axis=1), MIN_ENVELOPE)
    return np.asarray(median(leads[present] / units[present], axis=0)[0])


def _threshold(envelope: Array, sampling_frequency: float) -> float:
    """Return the height of a beat's peak: a third of the way from the median to the usual maximum of two seconds."""
    step = round(2 * sampling_frequency)  # contains a beat down to 30 a minute; a low quantile ignores bursts of noise
    maxima = [envelope[start : start + step].max() for start in range(0, len(envelope) - step + 1, step // 2)]
    usual, quiet = float(np.quantile(maxima, 0.25)), float(np.median(envelope))
    if usual < MIN_PROMINENCE * max(quiet, 1e-12):
        return np.inf
    return quiet + 0.35 * (usual - quiet)


def _without_t(peaks: NDArray[np.intp], envelope: Array, sampling_frequency: float) -> NDArray[np.intp]:
    """Drop each peak that soon follows a beat and is much smaller than it: a T wave."""
    kept: list[int] = []
    for peak in peaks.tolist():
        soon = kept and peak - kept[-1] < T_WAVE * sampling_frequency
        if not (soon and envelope[peak] < 0.5 * envelope[kept[-1]]):
            kept.append(peak)
    return np.array(kept, np.intp)
