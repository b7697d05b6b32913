"""Prepare the network's input: resampled, filtered and normalised leads, windows, age and sex."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leadwise.ecg.header import Header
from leadwise.ecg.leads import LONG, Signal, lead_by_lead, standard_leads
from leadwise.ecg.recording import Recording
from leadwise.ecg.repairs import RecordingError
from leadwise.ecg.resampling import resample_linear, resample_polyphase, resampled_length
from leadwise.recipes import SignalRecipe

TYPICAL_RMS = 0.2  # mV; about the root mean square of an ECG between 0.5 and 40 Hz over its leads
FILTERED = 1 << 16  # samples that are filtered at once, in doubles
MAX_AMPLITUDE = 50.0  # times the root mean square; nothing beyond it comes from the heart
Float32 = NDArray[np.float32]


def prepare(recording: Recording, recipe: SignalRecipe) -> Signal:
    """Return the standard leads in the recipe's unit and at its sampling frequency, filtered and normalised as it says:
    (12, floor(samples * target / sampling frequency)). Raises RecordingError if no lead can be used, there are fewer
    than two samples, or none would be left."""
    frequency, samples = recording.sampling_frequency, recording.counts.shape[1]
    if samples < 2 or resampled_length(samples, frequency, recipe.sampling_frequency) < 1:
        raise RecordingError(recording.name, f"too short: {samples} samples at {frequency:g} Hz")
    if samples < LONG:
        signal = standard_leads(recording, recipe.unit)
        values, repairs = _resampled_and_filtered(signal.values, frequency, recipe), signal.repairs
    else:
        repairs, leads = lead_by_lead(recording, recipe.unit)
        values = np.empty((12, resampled_length(samples, frequency, recipe.sampling_frequency)), np.float32)
        for row in values:
            row[:] = _resampled_and_filtered(next(leads), frequency, recipe)[0]  # without keeping the lead
    scale = None if recipe.scale == "none" else normalise_rms(values)
    return Signal(values, float(recipe.sampling_frequency), repairs, scale)


def _resampled_and_filtered(values: Float32, frequency: float, recipe: SignalRecipe) -> Float32:
    resample = {"linear": resample_linear, "polyphase": resample_polyphase}[recipe.resampling]
    values = resample(values, frequency, recipe.sampling_frequency)
    return values if recipe.band is None else band_pass(values, recipe.sampling_frequency, recipe.band)


def band_pass(values: Float32, sampling_frequency: float, band: tuple[float, float]) -> Float32:
    """Filter (leads, samples) to `band` (Hz): Butterworth of second order, forward and backward, without delay. The
    signal is continued for a second at both ends, so that they do not ring. Equals SciPy's sosfiltfilt bit for bit, in
    a third of its memory."""
    from scipy.signal import sosfilt  # here: slow to import, and the published recipe has no filter

    sections, settled = band_pass_filter(float(sampling_frequency), band)
    samples = values.shape[1]
    padding = min(samples - 1, round(sampling_frequency))
    before = 2 * values[:, :1] - values[:, padding:0:-1]
    after = 2 * values[:, -1:] - values[:, -2 : -padding - 2 : -1]
    filtered = np.concatenate([before, values, after], axis=1, dtype=np.float64)
    for signal in (filtered, filtered[:, ::-1]):
        state = settled[:, None] * signal[:, :1]
        for start in range(0, signal.shape[1], FILTERED):
            part = signal[:, start : start + FILTERED]
            part[:], state = sosfilt(sections, part, axis=1, zi=state)
    return filtered[:, padding : padding + samples].astype(np.float32)


@lru_cache(maxsize=16)
def band_pass_filter(sampling_frequency: float, band: tuple[float, float]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the second-order sections of a Butterworth filter and their state after a constant of 1. Its design takes
    as long as filtering ten seconds."""
    from scipy.signal import butter, sosfilt_zi

    sections = butter(2, band, "bandpass", fs=sampling_frequency, output="sos")
    return sections, sosfilt_zi(sections)


def normalise_rms(values: Float32) -> float:
    """Divide (leads, samples) in mV, in place, by their root mean square (mV) over the leads that are not zero; return
    it. It is limited to a hundredth and a hundred times `TYPICAL_RMS`: beyond it there is no ECG."""
    squares = [float(np.square(lead, dtype=np.float64).sum()) for lead in values if lead.any()]
    mean_square = sum(squares) / (len(squares) * values.shape[1]) if squares else 0.0
    rms = float(np.clip(math.sqrt(mean_square), TYPICAL_RMS / 100, TYPICAL_RMS * 100))
    np.clip(values, -MAX_AMPLITUDE * rms, MAX_AMPLITUDE * rms, out=values)
    values /= np.float32(rms)
    return rms


def prediction_windows(lengths: Sequence[int], recipe: SignalRecipe) -> NDArray[np.int64]:
    """Return the test windows of recordings with these numbers of samples, (windows, 3): index of the recording, first
    sample, weight in the mean."""
    tables = []
    for owner, samples in enumerate(lengths):
        if recipe.windows == "even":
            starts = window_starts(samples, recipe.window, recipe.overlap)
            weights = np.ones_like(starts)
        else:
            last = max(samples - recipe.window, 0)
            starts = np.append(np.arange(0, last, recipe.window - recipe.overlap, dtype=np.int64), last)
            weights = np.diff(starts, prepend=-recipe.window)  # the samples that each window adds
        tables.append(np.stack([np.full_like(starts, owner), starts, weights], axis=1))
    return np.concatenate(tables)


def window_starts(samples: int, window: int, overlap: int) -> NDArray[np.int64]:
    """Return the first samples of a recording's test windows, (P,), as in the paper's program: 0 alone if it is not
    longer than the window, else P = ceil((samples - window) / (window - overlap)) + 1 multiples of
    floor((samples - window) / (P - 1)), of which the last is moved so that its window ends with the recording."""
    if window < 1 or not 0 <= overlap < window:
        raise ValueError(f"window {window} and overlap {overlap}: 0 <= overlap < window is needed")
    extra = samples - window
    if extra <= 0:
        return np.zeros(1, np.int64)
    steps = -(-extra // (window - overlap))
    starts = np.arange(steps + 1, dtype=np.int64) * (extra // steps)
    starts[-1] = extra
    return starts


def auxiliary_features(header: Header, signal: Signal) -> NDArray[np.float32]:
    """Return age and sex, (5,), and the logarithm of a normalised signal's scale over `TYPICAL_RMS`, (6,): low voltage
    is a diagnosis."""
    person = demographics(header)
    return person if signal.scale is None else np.append(person, np.float32(math.log(signal.scale / TYPICAL_RMS)))


def demographics(header: Header) -> NDArray[np.float32]:
    """Return the network's age and sex, (5,): age / 100 (0 if unknown or negative), 0 (the age mask, which the authors'
    program never sets), female, male, sex known."""
    age = header.age if header.age is not None and header.age >= 0 else 0.0
    female, male = header.sex == "female", header.sex == "male"
    return np.array([age / 100, 0, female, male, female or male], np.float32)
