"""Resample leads to another frequency: linear interpolation as published, or a polyphase filter without aliasing."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

ZERO_CROSSINGS = 16  # of the resampling filter's sinc, on each side
CUTOFF = 0.47  # of the lower of the two sampling frequencies; half amplitude there, stop band from 0.53
KAISER_BETA = 5.65  # 60 dB
MAX_PATTERN = 1 << 16  # phases times half width: up to here all phases of a pair of frequencies are kept, in 2 MB
SHORTEST_FRAME = 16  # target samples; shorter patterns of phases are repeated: fewer, larger products
BLOCK = 64  # target samples in one matrix product; more or fewer were slower at 500 Hz
PHASES = 2048  # of the filter in a sample of the lower frequency, if a pair of frequencies has too many of its own
FRAMES_ELEMENTS = 1 << 22  # source samples of a lead that are copied for the products at once: hours of ECG, 16 MB
GATHERED_ELEMENTS = 1 << 18  # source samples of a lead that are gathered at once in that case
Float32 = NDArray[np.float32]


def resampled_length(samples: int, sampling_frequency: float, target: float) -> int:
    """Return the exact number of samples at another frequency: floor(samples * target / sampling_frequency)."""
    ratio = _ratio(sampling_frequency, target)
    return samples * ratio.numerator // ratio.denominator


@lru_cache(maxsize=64)
def _ratio(sampling_frequency: float, target: float) -> Fraction:
    """Return target over source frequency, of the decimals as written (257.3 is 2573/10, not its binary twin)."""
    if not (0 < sampling_frequency < math.inf and 0 < target < math.inf):
        raise ValueError(f"cannot resample from {sampling_frequency:g} Hz to {target:g} Hz")
    return Fraction(repr(float(target))) / Fraction(repr(float(sampling_frequency)))


def resample_linear(values: NDArray[Any], sampling_frequency: float, target: float) -> Float32:
    """Interpolate (leads, L) linearly to (leads, M), M = floor(L / sampling_frequency * target), float32, as published.

    As in the authors' program, source samples are at linspace(0, L, L) / sampling_frequency, target samples at
    linspace(0, M, M) / target (end included), which stretches both by one part in L and M. There is no filter: content
    above half the target frequency is aliased. Equal frequencies leave the values unchanged."""
    signal = np.asarray(values, np.float32)
    if sampling_frequency == target:
        return signal
    left, weight = _linear_grid(signal.shape[-1], float(sampling_frequency), float(target))
    start = signal.take(left, axis=-1)
    result = signal.take(left + 1, axis=-1, mode="clip")  # the last sample has no neighbour, and weight 0
    result -= start
    result *= weight
    result += start
    return result


@lru_cache(maxsize=16)
def _linear_grid(samples: int, sampling_frequency: float, target: float) -> tuple[NDArray[np.intp], Float32]:
    """Return the source sample left of each target sample, and the weight of the one to its right: (M,), (M,)."""
    length = resampled_length(samples, sampling_frequency, target)
    times = np.linspace(0, length, length) / target
    step = samples / max(samples - 1, 1) / sampling_frequency  # seconds between source samples
    position = np.clip(times / step, 0, samples - 1)
    left = position.astype(np.intp)
    return left, (position - left).astype(np.float32)


def resample_polyphase(values: NDArray[Any], sampling_frequency: float, target: float) -> Float32:
    """Resample (leads, L) without aliasing to (leads, floor(L * target / sampling_frequency)), float32.

    Output sample k lies at time k / target. A Kaiser-windowed sinc (60 dB; Oppenheim and Schafer, section 7.6) passes
    content below 0.41 of the lower frequency and stops content above 0.53. The weights of each phase sum to 1 and the
    signal is mirrored at its ends, so that an offset does not ring. Equal frequencies leave the values unchanged."""
    if sampling_frequency == target:
        return np.asarray(values, np.float32)
    signal = np.atleast_2d(np.asarray(values, np.float32))
    ratio = _ratio(sampling_frequency, target)
    half = math.ceil(ZERO_CROSSINGS / min(float(ratio), 1.0))  # source samples that the filter reaches on each side
    if signal.shape[1] * ratio < 1:
        result = np.zeros((len(signal), 0), np.float32)
    else:
        result = (_by_frames if ratio.numerator * half <= MAX_PATTERN else _by_phases)(signal, ratio, half)
    return result.reshape(*np.shape(values)[:-1], result.shape[1])


def _mirrored(signal: Float32, half: int, length: int) -> Float32:
    """Return the signal with `half - 1` mirrored samples before and `half` after it, then zeros: (leads, length)."""
    leads, samples = signal.shape
    period = max(2 * (samples - 1), 1)
    outside = np.concatenate([np.arange(1 - half, 0), np.arange(samples, samples + half)])
    inside = np.abs(outside) % period
    inside = np.minimum(inside, period - inside) if samples > 1 else inside  # mirrors a short signal repeatedly
    padded = np.zeros((leads, length), np.float32)
    padded[:, half - 1 : half - 1 + samples] = signal
    padded[:, outside + half - 1] = signal[:, inside]
    return padded


def _by_frames(signal: Float32, ratio: Fraction, half: int) -> Float32:
    """Apply the whole pattern of phases as a few matrices: each frame of `down` source samples gives `up` samples."""
    up, down = _frame(ratio)
    leads, samples = signal.shape
    length = samples * up // down
    frames = -(-length // up)
    span = down + 2 * half - 1  # source samples that a frame's filters reach
    padded = _mirrored(signal, half, max(frames * down, samples) + 2 * half)
    strides = (padded.strides[0], down * padded.strides[1], padded.strides[1])
    windows = np.lib.stride_tricks.as_strided(padded, (leads, frames, span), strides, writeable=False)
    result = np.empty((leads, frames, up), np.float32)
    at_once = max(FRAMES_ELEMENTS // span, 1)
    for frame, block in itertools.product(range(0, frames, at_once), _frame_weights(ratio, half)):
        start, first, weights = block
        rows = slice(frame, frame + at_once)
        part = windows[:, rows, first : first + len(weights)].reshape(-1, len(weights))  # a copy: frames overlap
        result[:, rows, start : start + BLOCK] = (part @ weights).reshape(leads, -1, weights.shape[1])
    return np.ascontiguousarray(result.reshape(leads, frames * up)[:, :length])


def _frame(ratio: Fraction) -> tuple[int, int]:
    """Return how many target and source samples a frame has: those of one or several patterns."""
    patterns = math.ceil(SHORTEST_FRAME / ratio.numerator)
    return patterns * ratio.numerator, patterns * ratio.denominator


@lru_cache(maxsize=8)
def _frame_weights(ratio: Fraction, half: int) -> tuple[tuple[int, int, Float32], ...]:
    """Return for each block of a frame its first target sample, its first source sample and weights (source, target).
    Most weights of a whole frame would be zero: blocks of 64 take half the time."""
    up, down = _frame(ratio)
    left, remainder = np.divmod(np.arange(up) * down, up)  # target sample k lies at source position k * down / up
    taps = _taps(remainder / up, half, ratio)
    blocks = []
    for start in range(0, up, BLOCK):
        row = left[start : start + BLOCK] - left[start]
        weights = np.zeros((row[-1] + 2 * half, len(row)), np.float32)
        np.put_along_axis(weights, row + np.arange(2 * half)[:, None], taps[start : start + BLOCK].T, axis=0)
        blocks.append((start, int(left[start]), weights))
    return tuple(blocks)


def _by_phases(signal: Float32, ratio: Fraction, half: int) -> Float32:
    """Resample by any ratio: each target sample takes the filter of the nearest phase, in parts to bound the memory."""
    length = signal.shape[1] * ratio.numerator // ratio.denominator
    table = _phase_table(ratio, half)  # (phases + 1, 2 half)
    padded = _mirrored(signal, half, signal.shape[1] + 2 * half)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half, axis=1)
    result = np.empty((len(signal), length), np.float32)
    at_once = max(GATHERED_ELEMENTS // (2 * half), 1)
    for start in range(0, length, at_once):
        position = np.arange(start, min(start + at_once, length)) * (ratio.denominator / ratio.numerator)
        left = position.astype(np.intp)
        phase = np.rint((position - left) * (len(table) - 1)).astype(np.intp)
        np.einsum("lkt,kt->lk", windows[:, left], table[phase], out=result[:, start : start + at_once])
    return result


@lru_cache(maxsize=8)
def _phase_table(ratio: Fraction, half: int) -> Float32:
    """Return the filter at each fraction of a source sample from 0 to 1, both included: (phases + 1, 2 half)."""
    phases = math.ceil(PHASES * min(float(ratio), 1.0))
    return _taps(np.linspace(0, 1, phases + 1), half, ratio).astype(np.float32)


def _taps(fractions: NDArray[np.float64], half: int, ratio: Fraction) -> NDArray[np.float64]:
    """Return (fractions, 2 half) weights of source samples 1 - half .. half about each fraction; rows sum to 1."""
    distance = np.arange(1 - half, half + 1) - fractions[:, None]
    window = np.i0(KAISER_BETA * np.sqrt(np.clip(1 - (distance / half) ** 2, 0, None)))
    taps: NDArray[np.float64] = np.sinc(2 * CUTOFF * min(float(ratio), 1.0) * distance) * window
    taps /= taps.sum(axis=1, keepdims=True)
    return taps
