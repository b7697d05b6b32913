"""Measure an ECG by textbook definitions, from the signal alone: beats, intervals, widths, axis, wave shapes.

For tests, on signals with little noise. Thresholds are relative to the signal.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.signal import find_peaks

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
EIGHT = [0, 1, 6, 7, 8, 9, 10, 11]  # the leads that are not computed from others
BEFORE, AFTER = 0.5, 0.8  # s of an averaged beat around the onset of QRS

Array = NDArray[np.float64]


def moving_mean(values: Array, length: int) -> Array:
    """Return the mean of `length` neighbours along the last axis, same length."""
    kernel = np.ones(max(length, 1)) / max(length, 1)
    return np.apply_along_axis(lambda row: np.convolve(row, kernel, mode="same"), -1, values)


def remove_spikes(signal: Array, sampling_frequency: float) -> tuple[Array, Array]:
    """Return the signal without pacemaker spikes (up and down within 6 ms), and the times of the spikes in s."""
    reach = max(2, round(0.004 * sampling_frequency))
    padded = np.pad(signal, ((0, 0), (reach, reach)), mode="edge")
    beside = (padded[:, : -2 * reach] + padded[:, 2 * reach :]) / 2
    steep = np.abs(signal - beside).max(axis=0)
    peaks, _ = find_peaks(steep, height=0.15, distance=max(1, round(0.008 * sampling_frequency)))
    clean, spikes = signal.copy(), []
    for peak in peaks:
        low, high = max(0, peak - reach), min(signal.shape[1] - 1, peak + reach)
        inner = steep[peak] > 3 * max(np.ptp(signal[:, [low, high]], axis=1).max(), 0.02)
        if inner:
            spikes.append(peak / sampling_frequency)
            weight = np.linspace(0, 1, high - low + 1)
            clean[:, low : high + 1] = np.outer(signal[:, low], 1 - weight) + np.outer(signal[:, high], weight)
    return clean, np.array(spikes)


@dataclass
class Ecg:
    """Measurements of one recording (12, samples) in mV; times in s, widths and intervals in ms."""

    signal: Array
    sampling_frequency: float

    def __post_init__(self) -> None:
        signal = np.asarray(self.signal, dtype=np.float64)
        self.signal, self.spikes = remove_spikes(signal, self.sampling_frequency)
        self.signal = self.signal - self._baseline()[:, None]

    def _baseline(self) -> Array:
        """Return the level of each lead in the segments between the waves, (12,)."""
        rate = self.sampling_frequency
        smooth = moving_mean(self.signal, round(0.010 * rate))
        speed = moving_mean(np.sqrt((np.gradient(smooth[EIGHT], axis=1) ** 2).sum(axis=0)), round(0.020 * rate))
        return np.median(smooth[:, speed <= np.percentile(speed, 15)], axis=1)

    @cached_property
    def size(self) -> Array:
        """Return the root mean square over the eight independent leads, (samples,)."""
        return np.sqrt(np.mean(self.signal[EIGHT] ** 2, axis=0))

    @cached_property
    def speed(self) -> Array:
        """Return the root mean square slope of the eight leads, mV per sample, (samples,)."""
        return np.sqrt(np.mean(np.gradient(self.signal[EIGHT], axis=1) ** 2, axis=0))

    @cached_property
    def peaks(self) -> NDArray[np.int64]:
        """Return the samples of the QRS complexes, by slope and curvature, without those at the ends, (beats,)."""
        rate = self.sampling_frequency
        smooth = moving_mean(self.signal[EIGHT], round(0.010 * rate))
        slope = np.gradient(smooth, axis=1)
        size = []
        for change in (slope, np.gradient(slope, axis=1)):
            total = np.sqrt((change**2).sum(axis=0))
            total[: round(0.02 * rate)] = total[-round(0.02 * rate) :] = 0  # the moving mean begins there
            size.append(moving_mean(total, round(0.07 * rate)))
        bend = np.sqrt(size[0] * size[1])  # a wide ectopic QRS has little curvature, a T wave little slope
        peaks, properties = find_peaks(bend, height=0.13 * np.percentile(bend, 99), distance=round(0.24 * rate))
        peaks = self._without_t(peaks, properties["peak_heights"])
        margin = 0.12 * rate
        return peaks[(peaks > margin) & (peaks < len(bend) - margin)]

    @staticmethod
    def _without_t(peaks: NDArray[np.int64], heights: Array) -> NDArray[np.int64]:
        """Remove T waves: peaks much weaker than the one before and within 0.56 of the median interval after it."""
        usual = np.percentile(heights, 90)
        strong = peaks[heights > 0.5 * usual]
        interval = np.median(np.diff(strong)) if len(strong) > 1 else 0.0
        kept: list[int] = []
        for place, height in enumerate(heights):
            before = heights[kept[-1]] if kept else usual
            # the first peak may be the T wave of a beat before the recording
            gap = peaks[place] - peaks[kept[-1]] if kept else interval - (strong[0] - peaks[place])
            if height < 0.45 * before and gap < 0.56 * interval:
                continue
            kept.append(place)
        return peaks[kept]

    def _edges(self, peak: int) -> tuple[int, int]:
        """Return first and last sample of the QRS around `peak`: size and speed above 5 % of their peaks."""
        rate = self.sampling_frequency
        reach = round(0.15 * rate)
        low, high = max(0, peak - reach), min(len(self.size), peak + reach)
        window = self.size[low:high]
        near = window[max(0, peak - low - reach // 2) : peak - low + reach // 2]
        active = (window > 0.05 * near.max()) & (
            self.speed[low:high] > 0.05 * self.speed[peak - reach // 2 : peak + reach // 2].max()
        )
        gap = round(0.016 * rate)
        start = end = peak - low
        while start > 0 and active[max(0, start - gap) : start].any():
            start -= 1
        while end < len(active) - 1 and active[end + 1 : end + 1 + gap].any():
            end += 1
        while not active[start] and start < end:
            start += 1
        while not active[end] and end > start:
            end -= 1
        return low + start, low + end

    @cached_property
    def edges(self) -> NDArray[np.int64]:
        """Return onset and end of each QRS in samples, (beats, 2)."""
        return np.array([self._edges(int(peak)) for peak in self.peaks]).reshape(-1, 2)

    @cached_property
    def onsets(self) -> Array:
        """Return the onset of each QRS, s."""
        return self.edges[:, 0] / self.sampling_frequency

    @cached_property
    def rr(self) -> Array:
        """Return the RR intervals, s, (beats - 1,)."""
        return np.diff(self.onsets)

    @property
    def heart_rate(self) -> float:
        """Return the beats per minute."""
        return 60 / float(self.rr.mean())

    @cached_property
    def widths(self) -> Array:
        """Return the width of each QRS, ms."""
        return (self.edges[:, 1] - self.edges[:, 0]) / self.sampling_frequency * 1000

    @property
    def qrs_width(self) -> float:
        """Return the median width of QRS, ms."""
        return float(np.median(self.widths))

    @cached_property
    def early(self) -> NDArray[np.int64]:
        """Return the beats that are at least 15 % early and have a beat on either side."""
        return np.nonzero(self.rr[:-1] < 0.85 * np.median(self.rr))[0] + 1

    @cached_property
    def regular(self) -> list[int]:
        """Return the beats that are neither early nor after an early one; all beats if there are none."""
        odd = set(self.early) | set(self.early + 1)
        return [beat for beat in range(len(self.peaks)) if beat not in odd] or list(range(len(self.peaks)))

    def cut(self, beat: int) -> Array:
        """Return the signal around one QRS onset, (12, window); NaN outside the recording."""
        rate = self.sampling_frequency
        start, stop = self.edges[beat, 0] - round(BEFORE * rate), self.edges[beat, 0] + round(AFTER * rate)
        inside = self.signal[:, max(0, start) : max(0, stop)]
        return np.pad(
            inside, ((0, 0), (max(0, -start), stop - start - inside.shape[1] - max(0, -start))), constant_values=np.nan
        )

    @cached_property
    def mean_beat(self) -> Array:
        """Return the mean of all regular beats, (12, window), from `BEFORE` to `AFTER` around the onset of QRS."""
        return np.nanmean([self.cut(beat) for beat in self.regular], axis=0)

    def lead(self, name: str, start: float, end: float) -> Array:
        """Return one lead of the mean beat between two times in ms from the onset of QRS."""
        rate = self.sampling_frequency
        first = round((BEFORE + start / 1000) * rate)
        return self.mean_beat[LEADS.index(name), first : round((BEFORE + end / 1000) * rate) + 1]

    def qrs(self, name: str) -> Array:
        """Return one lead of the mean QRS complex."""
        return self.lead(name, -4, self.qrs_width + 4)

    def net(self, name: str, until: float | None = None) -> float:
        """Return the area of QRS in one lead, mV ms; only of its first `until` ms if given."""
        return float(self.lead(name, 0, until or self.qrs_width).sum() / self.sampling_frequency * 1000)

    def axis(self, until: float | None = None) -> float:
        """Return the electrical axis in the frontal plane, degrees, from the areas of I and aVF."""
        return float(np.degrees(np.arctan2(self.net("aVF", until) * 2 / np.sqrt(3), self.net("I", until))))

    @property
    def limb_voltage(self) -> float:
        """Return the largest peak-to-peak voltage of QRS in the six limb leads, mV."""
        return max(float(np.ptp(self.qrs(name))) for name in LEADS[:6])

    def p_wave(self, beat: Array | None = None) -> tuple[float, float]:
        """Return the size of the P wave (mV, root mean square of I, II, V1) and the PR interval (ms).

        The interval is NaN if nothing rises above 0.012 mV.
        """
        rate = self.sampling_frequency
        beat = self.mean_beat if beat is None else beat
        size = np.sqrt(np.mean(beat[[0, 1, 6]] ** 2, axis=0))
        onset = round(BEFORE * rate)
        window = np.nan_to_num(moving_mean(size[: onset - round(0.02 * rate)], round(0.006 * rate)))
        peaks, _ = find_peaks(window, height=0.012, prominence=0.008)
        peaks = peaks[peaks > onset - 0.42 * rate]
        if len(peaks) == 0:
            return 0.0, float("nan")
        # back from its last top to 20 ms below a tenth of it, at most to the end of the preceding T wave
        earliest = max(round(0.02 * rate), onset - round((float(np.median(self.rr)) - self.qt() / 1000) * rate))
        start, gap = int(peaks[-1]), round(0.02 * rate)
        floor = window[min(earliest, start) : start + 1].min()
        level = floor + 0.1 * (window[start] - floor)
        while start > earliest and window[start - gap : start].max() > level:
            start -= 1
        return float(window[peaks[-1]]), (onset - start) / rate * 1000

    def p_consistency(self) -> float:
        """Return the similarity of the 200 ms before regular QRS complexes in I, II, V1: 1 if equal, 0 if random."""
        window = slice(
            round((BEFORE - 0.24) * self.sampling_frequency), round((BEFORE - 0.04) * self.sampling_frequency)
        )
        cuts = np.stack([self.cut(beat)[[0, 1, 6], window] for beat in self.regular if beat > 0])
        cuts = cuts - cuts.mean(axis=2, keepdims=True)
        return float(np.sum(cuts.mean(axis=0) ** 2) / np.mean(np.sum(cuts**2, axis=(1, 2))))

    def t_window(self) -> tuple[float, float]:
        """Return the search window of T in the mean beat, ms from the onset of QRS."""
        interval = float(np.median(self.rr)) * 1000
        return self.qrs_width + 40, min(1000 * AFTER - 10, 0.58 * np.sqrt(interval * 1000), interval - 60)

    def t_wave(self, name: str) -> tuple[float, float]:
        """Return the highest and lowest value of T in one lead, mV."""
        values = self.lead(name, *self.t_window())
        return float(values.max()), float(values.min())

    def qt(self) -> float:
        """Return QT in ms, by the tangent at the steepest descent of T in the lead with the largest T."""
        start, end = self.t_window()
        name = max(LEADS, key=lambda lead: float(np.abs(self.lead(lead, start, end)).max()))
        values = self.lead(name, start, 1000 * AFTER - 2)
        values = values * np.sign(values[np.abs(self.lead(name, start, end)).argmax()])
        top = int(self.lead(name, start, end).__abs__().argmax())
        slope = np.gradient(values)
        steepest = top + int(slope[top : top + round(0.12 * self.sampling_frequency)].argmin())
        crossing = steepest - values[steepest] / slope[steepest]
        return start + crossing / self.sampling_frequency * 1000

    @property
    def qtc(self) -> float:
        """Return QTc by Bazett, ms."""
        return self.qt() / float(np.sqrt(np.mean(self.rr)))

    def deflections(self, name: str, share: float = 0.06) -> list[tuple[float, float]]:
        """Return the waves of QRS in one lead: (signed height in mV, width in ms) of each.

        A wave is a run on one side of zero with at least `share` of the lead's largest height and 0.03 mV.
        """
        values = self.qrs(name)
        signs = np.sign(values)
        starts = np.flatnonzero(np.diff(signs, prepend=0))
        runs = [values[start:stop] for start, stop in zip(starts, [*starts[1:], len(values)], strict=True)]
        least = max(share * np.abs(values).max(), 0.03)
        return [
            (float(run[np.abs(run).argmax()]), len(run) / self.sampling_frequency * 1000)
            for run in runs
            if np.abs(run).max() > least
        ]

    def pattern(self, name: str) -> str:
        """Return the waves of QRS as signs, for instance '+-+' for rSR'."""
        return "".join("+" if height > 0 else "-" for height, _ in self.deflections(name))

    def notched(self, name: str) -> bool:
        """Return whether the R wave of one lead has two peaks."""
        values = self.qrs(name)
        peaks, _ = find_peaks(values, height=0.3 * values.max(), prominence=0.02 * values.max())
        return len(peaks) >= 2

    def flutter(self, names: tuple[str, ...]) -> tuple[float, Array, Array]:
        """Return rate (/min), heights (mV) and ratios of fall to rise time by lead of the regular atrial wave.

        Fits a wave of 200 to 400 /min with two overtones to the signal outside QRS, in all leads at once.
        """
        rate, samples = self.sampling_frequency, self.signal.shape[1]
        free = np.zeros(samples, dtype=bool)
        free[self.edges[0, 0] : self.edges[-1, 0] : max(1, round(rate / 125))] = True
        for onset, end in self.edges:
            free[max(0, onset - round(0.01 * rate)) : end + round(0.02 * rate)] = False
        times = np.nonzero(free)[0] / rate
        values = self.signal[[LEADS.index(name) for name in names]][:, free].T
        values = values - values.mean(axis=0)
        harmonics = 2 * np.pi * np.arange(1, 4)[:, None]

        def waves(per_minute: float, when: Array) -> Array:
            turn = per_minute / 60 * when * harmonics
            return np.concatenate([np.cos(turn), np.sin(turn)]).T

        def fit(per_minute: float) -> tuple[float, Array]:
            basis = waves(per_minute, times)
            weights = np.linalg.lstsq(basis, values, rcond=None)[0]
            return float(np.sum((values - basis @ weights) ** 2)), weights

        best = min(np.arange(200, 400.5, 0.5), key=lambda per_minute: fit(per_minute)[0])
        wave = waves(60.0, np.linspace(0, 1, 400, endpoint=False)) @ fit(best)[1]  # one turn, (400, leads)
        falling = (wave.argmin(axis=0) - wave.argmax(axis=0)) % 400
        return float(best), np.ptp(wave, axis=0), falling / (400 - falling)
