"""Heartbeats and heart rate from the signal alone, for the line above an ECG. NumPy and SciPy.

Knows no files, no diagnoses and no pictures. A rate of a few seconds for a reader's orientation, not for monitoring:
where the beats do not stand out of the noise there is none.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, find_peaks, sosfiltfilt

PASS_BAND = (5.0, 20.0)  # Hz; most of QRS, little of P, T, wander and mains (Pan and Tompkins 1985: 5 to 15)
SMOOTHING = 0.10  # s; about the width of QRS, so that each complex is one hill
REFRACTORY = 0.24  # s; no two beats are nearer, 250 a minute
T_WAVE = 0.40  # s; what comes sooner after a beat and is far smaller than it is its T wave
SHORTEST = 2.0  # s of signal
SMALLEST = 0.005  # mV; of a lead's median envelope: below this it is rounding, not noise
STANDING_OUT = 2.5  # times the median envelope; white noise reaches 1.5

Array = NDArray[np.float64]


def heart_rate(signal_mV: NDArray[np.floating], sampling_frequency: float) -> float | None:
    """Beats a minute, mean over the recording: (beats - 1) / time from the first to the last; None where unclear.

    `signal_mV` is (leads, samples), zeros where a lead is missing; Hz. None: fewer than three beats, or none that stand
    out. Raises ValueError as `find_beats` does.
    """
    beats = find_beats(signal_mV, sampling_frequency)
    if len(beats) < 3:
        return None
    return float(60 * (len(beats) - 1) / (beats[-1] - beats[0]))


def find_beats(signal_mV: NDArray[np.floating], sampling_frequency: float) -> Array:
    """When the heart beats, in seconds: the middle of each QRS complex, by what most of the leads show.

    `signal_mV` is (leads, samples). Empty where nothing stands out or less than two seconds are there. Raises
    ValueError where a value is NaN or infinite, or the frequency is below 20 Hz.
    """
    signal = np.asarray(signal_mV, np.float64)
    if signal.ndim != 2 or not np.isfinite(signal).all():
        raise ValueError("the signal must be (leads, samples), without NaN or infinite values")
    if not 20 <= sampling_frequency < np.inf:
        raise ValueError(f"a sampling frequency of {sampling_frequency:g} Hz shows no heartbeats")
    if signal.shape[1] < SHORTEST * sampling_frequency:
        return np.zeros(0)
    envelope = _envelope(signal, sampling_frequency)
    peaks, _ = find_peaks(envelope, distance=max(1, round(REFRACTORY * sampling_frequency)))
    peaks = peaks[envelope[peaks] > _threshold(envelope, sampling_frequency)]
    return _without_t(peaks, envelope, sampling_frequency) / sampling_frequency


def _envelope(signal: Array, sampling_frequency: float) -> Array:
    """How much goes on in the band of QRS, in units of each lead's median, the median over the leads, (samples,).

    The units make a noisy lead count for little, the median over leads makes a few bad electrodes count for nothing.
    """
    band = (PASS_BAND[0], min(PASS_BAND[1], 0.4 * sampling_frequency))
    filtered = sosfiltfilt(butter(2, band, "bandpass", fs=sampling_frequency, output="sos"), signal, axis=1)
    width = max(1, round(SMOOTHING * sampling_frequency))
    window = np.hanning(width + 2)[1:-1]
    window /= window.sum()
    leads = np.stack([np.sqrt(np.convolve(lead**2, window, mode="same")) for lead in filtered])
    typical = np.median(leads, axis=1)
    present = np.ptp(signal, axis=1) > 0
    if not present.any():
        return np.zeros(signal.shape[1])
    scaled = leads[present] / np.maximum(typical[present], SMALLEST)[:, None]
    return np.asarray(np.median(scaled, axis=0))


def _threshold(envelope: Array, sampling_frequency: float) -> float:
    """What a beat's hill must reach: a third of the way from the median to the usual largest of two seconds.

    Two seconds have a beat down to 30 a minute; the usual of them is low in their order, so that bursts of noise in
    most of them do not raise it.
    """
    step = round(2 * sampling_frequency)
    largest = [envelope[start : start + step].max() for start in range(0, len(envelope) - step + 1, step // 2)]
    usual, quiet = float(np.quantile(largest, 0.25)), float(np.median(envelope))
    if usual < STANDING_OUT * max(quiet, 1e-12):
        return np.inf
    return quiet + 0.35 * (usual - quiet)


def _without_t(peaks: NDArray[np.intp], envelope: Array, sampling_frequency: float) -> NDArray[np.intp]:
    """Drops each peak that comes soon after a beat and is much smaller: a T wave."""
    kept: list[int] = []
    for peak in peaks.tolist():
        soon = kept and peak - kept[-1] < T_WAVE * sampling_frequency
        if not (soon and envelope[peak] < 0.5 * envelope[kept[-1]]):
            kept.append(peak)
    return np.array(kept, np.intp)
