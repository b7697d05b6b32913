"""The network's input: resampled leads, the band-pass filter, normalisation, windows, age and sex."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import butter, sosfiltfilt

from leadwise.ecg import preprocessing
from leadwise.ecg.header import Header, parse_header
from leadwise.ecg.leads import STANDARD_LEADS
from leadwise.ecg.preprocessing import (
    auxiliary_features,
    band_pass,
    demographics,
    normalise_rms,
    prediction_windows,
    prepare,
    window_starts,
)
from leadwise.ecg.recording import Recording
from leadwise.ecg.repairs import RecordingError
from leadwise.recipes import ROBUST, SignalRecipe
from tests.ecg.recordings import make_recording, naive_linear, naive_polyphase, random_counts


@pytest.mark.parametrize("frequency", [100.0, 257.0, 360.25, 500.0, 1000.0])
def test_the_paper_s_recipe_interpolates_counts_lead_by_lead(frequency: float) -> None:
    counts = random_counts(12, 1500)
    signal = prepare(make_recording(counts, frequency=frequency), SignalRecipe())
    expected = counts if frequency == 257 else naive_linear(counts, frequency, 257)
    assert signal.sampling_frequency == 257
    np.testing.assert_allclose(signal.values, expected, rtol=0, atol=0.002)


def test_a_recipe_may_use_millivolts_and_the_polyphase_filter() -> None:
    counts = random_counts(12, 1500)
    signal = prepare(make_recording(counts), SignalRecipe(unit="mV", resampling="polyphase"))
    np.testing.assert_allclose(signal.values, naive_polyphase(counts / 1000, 500, 257), atol=1e-4)


@pytest.mark.parametrize(("samples", "frequency"), [(1, 500.0), (1, 100.0), (2, 1000.0)])
def test_too_short_recordings_are_refused(samples: int, frequency: float) -> None:
    with pytest.raises(RecordingError, match="too short") as refused:
        prepare(make_recording(random_counts(12, samples), frequency=frequency), SignalRecipe())
    assert refused.value.source == "X1"


@pytest.mark.parametrize("resampling", ["linear", "polyphase"])
@pytest.mark.parametrize("samples", [2, 3, 31, 32, 33, 62, 63])
def test_the_shortest_recordings_are_prepared(samples: int, resampling: str) -> None:
    recipe = SignalRecipe(resampling=resampling)
    values = prepare(make_recording(random_counts(12, samples)), recipe).values
    assert values.shape == (12, samples * 257 // 500)
    assert np.isfinite(values).all()


def test_the_recording_is_not_changed() -> None:
    counts = random_counts(12, 300)
    recording = make_recording(counts, frequency=257.0)
    prepare(recording, SignalRecipe()).values[:] = 0
    assert np.array_equal(recording.counts, counts)


@given(samples=st.integers(1, 60_000), window=st.integers(2, 5000), data=st.data())
def test_windows_cover_the_recording(samples: int, window: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, window - 1)) if samples < 5000 else window // 16
    starts = window_starts(samples, window, overlap)
    if samples <= window:
        assert starts.tolist() == [0]
        return
    number = math.ceil((samples - window) / (window - overlap)) + 1
    step = (samples - window) // (number - 1)
    assert starts.tolist() == [step * place for place in range(number - 1)] + [samples - window]
    gaps = np.diff(starts)  # the last window takes up the remainder of the floor
    assert (gaps[:-1] <= window - overlap).all()
    assert gaps[-1] <= window - overlap + number - 2


def test_windows_start_as_in_the_paper() -> None:
    assert window_starts(4096, 4096, 256).tolist() == [0]
    assert window_starts(4097, 4096, 256).tolist() == [0, 1]
    assert window_starts(4096 + 3840, 4096, 256).tolist() == [0, 3840]
    assert window_starts(4096 + 3841, 4096, 256).tolist() == [0, 1920, 3841]
    assert window_starts(462_600, 4096, 256).dtype == np.int64
    assert len(window_starts(462_600, 4096, 256)) == 121  # half an hour


@given(samples=st.integers(1, 5000), cut=st.integers(0, 40), window=st.integers(50, 700), share=st.floats(0, 0.9))
def test_windows_at_fixed_distances_weigh_each_sample_once(samples: int, cut: int, window: int, share: float) -> None:
    recipe = SignalRecipe(window=window, overlap=int(share * window), windows="fixed")
    starts, weights = prediction_windows([samples], recipe).T[1:]
    seen = np.zeros(max(samples, window), bool)
    for start, weight in zip(starts, weights, strict=True):  # in plain loops: the samples that no window before has
        added = [place for place in range(start, start + window) if not seen[place]]
        assert len(added) == weight
        seen[added] = True
    assert seen.all()
    # a cut at the end leaves the windows before the last one where they were
    shorter = prediction_windows([max(samples - cut, 1)], recipe)[:, 1]
    common = min(len(starts), len(shorter)) - 1
    assert starts[:common].tolist() == shorter[:common].tolist()


def test_windows_of_several_recordings_are_those_of_each() -> None:
    table = prediction_windows([100, 256, 700], SignalRecipe(window=256, overlap=32))
    assert table[:, 0].tolist() == [0, 1, 2, 2, 2]
    assert table[:, 1].tolist() == [0, 0, *window_starts(700, 256, 32)]
    assert table[-1, 1] + 256 == 700
    assert (table[:, 2] == 1).all()
    fixed = prediction_windows([100, 256, 700], SignalRecipe(window=256, overlap=32, windows="fixed"))
    assert fixed[:, 1:].tolist() == [[0, 256], [0, 256], [0, 256], [224, 224], [444, 220]]


def test_windows_of_the_published_method_have_equal_weights() -> None:
    starts, weights = prediction_windows([10_000], SignalRecipe()).T[1:]
    assert starts.tolist() == window_starts(10_000, 4096, 256).tolist()
    assert weights.tolist() == [1, 1, 1]


@pytest.mark.parametrize(("window", "overlap"), [(0, 0), (10, 10), (10, -1)])
def test_impossible_windows_are_refused(window: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="overlap"):
        window_starts(100, window, overlap)


def header_with(*comments: str) -> Header:
    return parse_header("\n".join(["X1 1 500 100", "X1.mat 16 1000/mV 16 0 0 0 0 I", *comments]))


@pytest.mark.parametrize(
    ("comments", "expected"),
    [
        (("#Age: 74", "#Sex: Male"), [0.74, 0, 0, 1, 1]),
        (("#Age: 8.5", "#Sex: F"), [0.085, 0, 1, 0, 1]),
        (("#Age: NaN", "#Sex: Unknown"), [0, 0, 0, 0, 0]),
        (("#Age: -1", "#Sex: female"), [0, 0, 1, 0, 1]),
        (("#Age: 300",), [3, 0, 0, 0, 0]),
        ((), [0, 0, 0, 0, 0]),
    ],
)
def test_age_and_sex_become_five_numbers(comments: tuple[str, ...], expected: list[float]) -> None:
    numbers = demographics(header_with(*comments))
    assert numbers.dtype == np.float32
    np.testing.assert_allclose(numbers, expected, rtol=1e-6)


@pytest.mark.parametrize("hertz", [0.1, 5.0, 20.0, 60.0])
def test_the_band_pass_filter_keeps_tones_inside_the_band_without_delay(hertz: float) -> None:
    frequency = 128.0
    tone = np.sin(2 * np.pi * hertz * np.arange(1280) / frequency)[None].astype(np.float32)
    inside = band_pass(tone, frequency, (0.5, 40.0))[:, 256:-256]
    strength = float(np.std(inside) / np.std(tone[:, 256:-256]))
    if 1 < hertz < 30:
        np.testing.assert_allclose(inside, tone[:, 256:-256], atol=0.05)
    else:
        assert strength < 0.05


@pytest.mark.parametrize("samples", [1, 2, 50, 1280, 5000])
def test_the_band_pass_filter_equals_scipy_s_bit_for_bit(samples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    values, band = np.random.default_rng(6).normal(3, 1, (12, samples)).astype(np.float32), (0.5, 40.0)
    sections = butter(2, band, "bandpass", fs=128.0, output="sos")
    expected = sosfiltfilt(sections, values, axis=1, padlen=min(samples - 1, 128)).astype(np.float32)
    assert np.array_equal(band_pass(values, 128.0, band), expected)
    monkeypatch.setattr(preprocessing, "FILTERED", 100)
    assert np.array_equal(band_pass(values, 128.0, band), expected)


def test_the_band_pass_filter_does_not_ring_at_the_ends_of_an_offset() -> None:
    assert np.abs(band_pass(np.full((2, 600), 3.0, np.float32), 128.0, (0.5, 40.0))).max() < 1e-3


@pytest.mark.parametrize("samples", [1, 2, 5, 20])
def test_the_band_pass_filter_accepts_the_shortest_signals(samples: int) -> None:
    assert band_pass(np.ones((12, samples), np.float32), 128.0, (0.5, 40.0)).shape == (12, samples)


@given(gain=st.floats(0.05, 50), seed=st.integers(0, 99))
def test_normalised_signals_do_not_depend_on_the_gain_but_their_scale_does(gain: float, seed: int) -> None:
    values = (0.2 * np.random.default_rng(seed).normal(size=(12, 300))).astype(np.float32)
    values[4] = 0  # a missing lead has no weight
    normal, other = values.copy(), (gain * values).astype(np.float32)
    scale, other_scale = normalise_rms(normal), normalise_rms(other)
    np.testing.assert_allclose(normal, other, rtol=1e-3, atol=1e-4)
    assert other_scale / scale == pytest.approx(gain, rel=1e-3)
    assert np.sqrt(np.mean(normal[normal.any(1)] ** 2)) == pytest.approx(1, rel=1e-3)


def test_normalising_zeros_or_huge_values_gives_finite_numbers() -> None:
    values = np.zeros((12, 100), np.float32)
    normalise_rms(values)
    assert not values.any()
    values[0, 5] = 3e38
    normalise_rms(values)
    assert np.isfinite(values).all()


def long_recording(missing: bool) -> Recording:
    counts = random_counts(12, 100_000)
    counts[3] = 7
    return make_recording(counts[2:] if missing else counts, STANDARD_LEADS[2:] if missing else STANDARD_LEADS, 250.0)


@pytest.mark.parametrize("recipe", [SignalRecipe(), ROBUST.signal], ids=["paper", "robust"])
@pytest.mark.parametrize("missing", [False, True])
def test_a_long_recording_is_prepared_as_a_short_one(
    recipe: SignalRecipe, missing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lead by lead; bit for bit, but for the last one of a matrix product, which depends on its number of rows."""
    whole = prepare(long_recording(missing), recipe)
    monkeypatch.setattr(preprocessing, "LONG", 1000)
    alone = prepare(long_recording(missing), recipe)
    largest = np.abs(whole.values).max() if recipe.resampling == "polyphase" else 0
    np.testing.assert_allclose(alone.values, whole.values, rtol=0, atol=1e-6 * largest)
    assert (alone.scale or 1) == pytest.approx(whole.scale or 1, rel=1e-6)
    assert set(alone.repairs) == set(whole.repairs)


def test_a_long_recording_takes_little_more_memory_than_its_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preprocessing, "LONG", 1000)
    recording = long_recording(missing=False)
    prepare(recording, ROBUST.signal)  # modules and the filter's tables
    tracemalloc.start()
    signal = prepare(recording, ROBUST.signal)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < signal.values.nbytes + 6 * 4 * recording.counts.shape[1]  # six copies of a lead


def test_the_robust_recipe_adds_the_scale_to_age_and_sex() -> None:
    recording = make_recording(random_counts(12, 5000))
    signal = prepare(recording, ROBUST.signal)
    numbers = auxiliary_features(recording.header, signal)
    assert signal.values.shape == (12, 1280) and numbers.shape == (6,)
    np.testing.assert_array_equal(numbers[:5], demographics(recording.header))
    assert numbers[5] == pytest.approx(math.log(signal.scale / 0.2))
    assert auxiliary_features(recording.header, prepare(recording, SignalRecipe())).shape == (5,)
