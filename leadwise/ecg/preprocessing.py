"""Leads, units, resampling and windows: from a `Recording` to the 12 leads that a recipe wants.

Arrays in, arrays out, no torch. This file knows neither files nor labels: what a header or a signal file says is
`recording.py`'s to find out, what a number of a method is stands in `recipes.py`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from leadwise.ecg.header import Header
from leadwise.ecg.leads import Signal, standard_leads
from leadwise.ecg.recording import Recording
from leadwise.ecg.repairs import RecordingError
from leadwise.ecg.resampling import resample_linear, resample_polyphase, resampled_length
from leadwise.recipes import SignalRecipe

USUAL_SCALE = 0.2  # mV; about the root mean square of an ECG between 0.5 and 40 Hz over its leads
LARGEST = 50.0  # times the scale; beyond it nothing is of the heart
Float32 = NDArray[np.float32]


def prepare(recording: Recording, recipe: SignalRecipe) -> Signal:
    """The network's input of a recording: standard leads in the recipe's unit, at its sampling frequency.

    Values (12, floor(samples * target / sampling frequency)). Raises RecordingError where no lead can be used, where
    fewer than two samples are there or none would be left.
    """
    frequency, samples = recording.sampling_frequency, recording.counts.shape[1]
    if samples < 2 or resampled_length(samples, frequency, recipe.sampling_frequency) < 1:
        raise RecordingError(recording.name, f"too short: {samples} samples at {frequency:g} Hz")
    signal = standard_leads(recording, recipe.unit)
    resample = {"linear": resample_linear, "polyphase": resample_polyphase}[recipe.resampling]
    values = resample(signal.values, frequency, recipe.sampling_frequency)
    if recipe.band is not None:
        values = band_pass(values, recipe.sampling_frequency, recipe.band)
    if recipe.scale == "none":
        return Signal(values, float(recipe.sampling_frequency), signal.repairs)
    values, scale = scaled(values)
    return Signal(values, float(recipe.sampling_frequency), signal.repairs, scale)


def band_pass(values: Float32, sampling_frequency: float, band: tuple[float, float]) -> Float32:
    """(leads, samples) without what lies outside of `band` (Hz): a Butterworth filter of second order, forward and
    backward, so that nothing moves in time. The signal is continued for a second at its ends, so that they do not ring.
    """
    from scipy.signal import butter, sosfiltfilt  # here: it takes its time, and the published recipe has no filter

    sections = butter(2, band, "bandpass", fs=sampling_frequency, output="sos")
    padding = min(values.shape[1] - 1, round(sampling_frequency))
    filtered: NDArray[np.float64] = sosfiltfilt(sections, values, axis=1, padlen=padding)
    return filtered.astype(np.float32)


def scaled(values: Float32) -> tuple[Float32, float]:
    """(leads, samples) in mV divided by their root mean square over the leads that are not zero, and that number (mV).

    A hundred times `USUAL_SCALE`, or a hundredth of it, is as far as it goes: what is larger or smaller is no ECG.
    """
    some = values[values.any(axis=1)]
    mean_square = float(np.mean(some.astype(np.float64) ** 2)) if some.size else 0.0
    scale = float(np.clip(math.sqrt(mean_square), USUAL_SCALE / 100, USUAL_SCALE * 100))
    return (np.clip(values, -LARGEST * scale, LARGEST * scale) / np.float32(scale)).astype(np.float32), scale


def window_starts(samples: int, window: int, overlap: int) -> NDArray[np.int64]:
    """Where the test windows of a recording begin (paper's program): (P,) sample indices.

    A recording that is not longer than the window has one, at 0 (the rest is padding). A longer one has
    P = ceil((samples - window) / (window - overlap)) + 1, at multiples of floor((samples - window) / (P - 1)), the last
    one ending with the recording.
    """
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
    """What the network is told beside the signal: age and sex, (5,), and a scaled signal's scale, (6,): its logarithm
    over `USUAL_SCALE`, since low voltage is a diagnosis."""
    person = demographics(header)
    return person if signal.scale is None else np.append(person, np.float32(math.log(signal.scale / USUAL_SCALE)))


def demographics(header: Header) -> NDArray[np.float32]:
    """Age and sex as the network takes them, (5,): age / 100 (0 when unknown), 0, female, male, sex known.

    The second number is the age mask that the authors' program never sets. A negative age counts as unknown.
    """
    age = header.age if header.age is not None and header.age >= 0 else 0.0
    female, male = header.sex == "female", header.sex == "male"
    return np.array([age / 100, 0, female, male, female or male], np.float32)
