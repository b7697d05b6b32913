"""Judge from the signal alone whether its amplitudes fit mV and its waves fit the declared sampling frequency.

The limits were chosen on PTB-XL, the Challenge's recordings and recordings taken with a phone; docs/reliability.md has
the rates.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from leadwise.ecg.header import MILLIVOLTS
from leadwise.ecg.heart_rate import find_beats
from leadwise.ecg.resampling import resample_polyphase

Floats = NDArray[np.float64]

SIZE_SAMPLES: Final = 500  # of a lead: enough for its typical size
SMALLEST_SIZE: Final = 0.001  # mV; the smallest typical size of a good recording is 0.004
LARGEST_SIZE: Final = 5.0  # mV; good recordings reach 0.4, those with loose electrodes 4.8

# Sampling frequencies of ECG recorders (Hz), each with a handicap, since neighbours may fit alike: 500 is most common.
USUAL_FREQUENCIES: Final = {500: 0.0, 1000: 0.2, 250: 0.2, 100: 0.2, 125: 0.6, 200: 0.6, 360: 0.6, 2000: 0.6}
FINE_RATE: Final = 250.0  # Hz, enough for QRS
SMALL_LEAD: Final = 0.2  # mV: leads of a smaller range count less in the median beat
SEARCH_SECONDS: Final = 30.0  # of the signal at another frequency
COARSE_RATE: Final = 125.0  # Hz, to find beats
MAX_BEATS: Final = 7  # in the median beat
# Median of PTB-XL, in s: from beat to beat; root of QRS energy over energy of its slope; middle of QRS to peak of T.
TYPICAL_TIMES: Final = (0.836, 0.0148, 0.254)
# Limits of natural logarithms of ratios to these times.
MAX_RATIO: Final = 0.5  # of each: bradycardia or a bundle branch block alone decides little
MAX_STRETCH: Final = 0.35  # of the three's mean
MIN_STRETCH: Final = -0.42
MAX_QRS: Final = 0.6  # QRS alone, if another frequency fits
MIN_CHANGE: Final = 0.3  # from the declared frequency; 360 and 500 Hz differ by 0.33
MAX_MISFIT: Final = 0.7  # of that change and QRS
MIN_QRS_SHARE: Final = 0.22  # of that change in QRS: bradycardia prolongs the intervals, hardly QRS
MAX_ATYPICAL, MAX_ATYPICAL_SUM = 0.55, 0.9  # of each time and all three at a frequency that fits


def typical_size(values_mV: NDArray[Any]) -> float:
    """Return the typical size of a signal (leads, samples) in its own unit: the median distance of the samples from
    their lead's median. NaN, infinite samples and leads with one value throughout are ignored; 0 if nothing is left.

    Examples
    --------
    >>> typical_size(np.array([[0.0, 0.1, -0.1, 0.0, 0.2], [7.0, 7.0, 7.0, 7.0, 7.0]]))
    0.1
    """
    values = np.atleast_2d(np.asarray(values_mV, np.float64))
    finite = np.isfinite(values)
    complete = finite.all()
    if not complete:
        values = np.where(finite, values, np.nan)[finite.any(axis=1)]
    lowest, highest = np.fmin.reduce(values, axis=1), np.fmax.reduce(values, axis=1)
    values = values[highest > lowest]
    median = np.median if complete else np.nanmedian
    return float(median(np.abs(values - median(values, axis=1, keepdims=True)))) if values.size else 0.0


def size_samples(samples: int) -> slice:
    """Return which of a lead's samples are enough for `typical_size`: at most twice 500, evenly spread."""
    return slice(None, None, max(samples // SIZE_SAMPLES, 1))


def likely_unit(size: float) -> str | None:
    """Return the unit that a typical size taken as mV suggests: None if mV is plausible or `size` is 0 (nothing moves),
    else "V", "uV" or, for even larger numbers, "ADC counts"."""
    if size == 0 or SMALLEST_SIZE <= size <= LARGEST_SIZE:
        return None
    if size < SMALLEST_SIZE:
        return "V"
    return "uV" if size <= LARGEST_SIZE / MILLIVOLTS["uV"] else "ADC counts"


def wave_times(signal_mV: NDArray[Any], sampling_frequency: float, beats: Floats) -> Floats | None:
    """Return how long the waves of (leads, samples) last compared with a typical ECG: natural logarithms of the ratios
    of RR interval, QRS and QRS-to-T delay, (3,). None if fewer than three beats (in s) show them."""
    if len(beats) < 3:
        return None
    interval = float(np.median(np.diff(beats)))
    beat, middle, rate = _median_beat(np.asarray(signal_mV), sampling_frequency, beats, interval)
    reach = max(3, int(0.2 * interval * rate))
    if beat.shape[1] < middle + 2 * reach:
        return None
    slope = np.sqrt((np.gradient(beat, axis=1) ** 2).sum(axis=0))
    size = np.sqrt((beat**2).sum(axis=0))
    qrs = slice(max(middle - reach, 0), middle + reach + 1)
    energy = np.cumsum(slope[qrs] ** 2)
    if not energy[-1] > 0:
        return None
    begin, centre, end = np.interp((0.07, 0.5, 0.93), energy / energy[-1], np.arange(len(energy))) + qrs.start
    width = max(3, round(0.06 * interval * rate))
    smooth = np.convolve(size, np.hanning(width + 2)[1:-1], mode="same")
    after = int(centre + max(0.15 * interval * rate, 1.2 * (end - begin)))
    if after + 3 > len(smooth):
        return None
    t_wave = (after + int(smooth[after:].argmax()) - centre) / rate
    qrs_time = math.sqrt((size[qrs] ** 2).sum() / energy[-1]) / rate
    return np.log(np.array([interval, qrs_time, t_wave]) / TYPICAL_TIMES)


def _median_beat(signal: NDArray[Any], frequency: float, beats: Floats, interval: float) -> tuple[Floats, int, float]:
    """Return the median beat of each lead, the sample of its QRS and its rate, which is at least `FINE_RATE` if the
    signal's is: from 0.4 of an RR interval before QRS to 0.65 after it, each lead scaled to its own range."""
    step = max(int(frequency / FINE_RATE), 1)
    before, after = int(0.4 * interval * frequency), int(0.65 * interval * frequency)
    at = np.rint(beats * frequency).astype(np.intp)
    at = at[(at >= before) & (at + after <= signal.shape[1])][:MAX_BEATS]
    if not len(at):
        return np.zeros((len(signal), 0)), 0, frequency
    windows = signal[:, at[:, None] + np.arange(-before, after, step)]  # (leads, beats, samples)
    beat = np.partition(windows, len(at) // 2, axis=1)[:, len(at) // 2].astype(np.float64)
    beat -= np.median(beat, axis=1, keepdims=True)
    beat /= np.maximum(np.ptp(beat, axis=1, keepdims=True), SMALL_LEAD)
    return beat, before // step, frequency / step


def stretch(ratios: Floats) -> float:
    """Return by how much (natural logarithm) the waves last longer than typical ones: about 0 if the sampling frequency
    is right, 0.7 if it is declared as half of the true one."""
    return float(np.clip(ratios, -MAX_RATIO, MAX_RATIO).mean())


def is_doubtful(ratios: Floats | None) -> bool:
    """Return whether another sampling frequency may fit better: then, `fitting_frequency` looks for one."""
    return ratios is None or not MIN_STRETCH <= stretch(ratios) <= MAX_STRETCH or ratios[1] > MAX_QRS


def _qrs_shows(qrs: float, change: float) -> bool:
    """Return whether the duration of QRS (as its ratio's logarithm) has changed with the sampling frequency."""
    return abs(qrs - change) <= MAX_MISFIT and MIN_QRS_SHARE <= qrs / change <= 2


def fitting_frequency(signal_mV: NDArray[Any], declared: float, ratios: Floats | None) -> tuple[float, float] | None:
    """Return the usual sampling frequency that the waves of (leads, samples) fit best, and the heart rate at the
    declared one (beats a minute). None if none fits, or none on the side that the duration of QRS in `ratios` shows."""
    fits = []
    for frequency, handicap in USUAL_FREQUENCIES.items():
        change = math.log(frequency / declared)
        if abs(change) < MIN_CHANGE or (ratios is not None and not _qrs_shows(ratios[1], change)):
            continue
        part, rate = signal_mV[:, : round(SEARCH_SECONDS * frequency)], min(frequency, COARSE_RATE)
        beats = find_beats(resample_polyphase(part, frequency, rate), rate)
        there = wave_times(part, frequency, beats)
        if there is not None and np.abs(there).max() <= MAX_ATYPICAL and np.abs(there).sum() <= MAX_ATYPICAL_SUM:
            per_minute = 60 * (len(beats) - 1) / (beats[-1] - beats[0]) * declared / frequency
            fits.append((float(np.abs(there).sum()) + handicap, float(frequency), float(per_minute)))
    return min(fits)[1:] if fits else None
