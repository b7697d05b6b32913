"""Resampling against naive implementations and signals whose result is known."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from leadwise.ecg import resampling
from leadwise.ecg.leads import standard_leads
from leadwise.ecg.preprocessing import prepare
from leadwise.ecg.recording import read_recording
from leadwise.ecg.resampling import resample_linear, resample_polyphase, resampled_length
from leadwise.recipes import SignalRecipe
from tests.ecg.recordings import naive_linear, naive_polyphase, random_counts

FREQUENCIES = st.one_of(
    st.sampled_from((50.0, 100.0, 128.0, 250.0, 257.3, 300.0, 360.25, 500.0, 512.0, 771.0, 1000.0, 2000.0)),
    st.floats(50, 2000).map(lambda frequency: round(frequency, 2)),
)


@given(samples=st.integers(1, 3000), frequency=FREQUENCIES, target=st.sampled_from((257, 100, 500)))
@settings(max_examples=150, deadline=None)
def test_linear_resampling_equals_numpy_s_interp(samples: int, frequency: float, target: int) -> None:
    values = random_counts(3, samples).astype(np.float32)
    if frequency == target:
        assert np.array_equal(resample_linear(values, frequency, target), values)
        return
    result = resample_linear(values, frequency, target)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, naive_linear(values, frequency, target), rtol=0, atol=10_000 * 2.0**-23)


@given(samples=st.integers(1, 500_000), frequency=st.integers(50, 2000))
def test_lengths_are_the_exact_floor(samples: int, frequency: int) -> None:
    assert resampled_length(samples, float(frequency), 257) == samples * 257 // frequency


def test_lengths_of_decimal_frequencies_are_exact() -> None:
    assert resampled_length(514, 51.4, 257) == 2570
    assert resampled_length(2573, 257.3, 257) == 2570


@pytest.mark.parametrize("resample", [resample_linear, resample_polyphase])
class TestBothMethods:
    def test_equal_frequency_is_untouched(self, resample) -> None:
        values = np.random.default_rng(0).normal(size=(12, 900)).astype(np.float32)
        assert np.array_equal(resample(values, 257.0, 257), values)

    @given(samples=st.integers(0, 400), frequency=FREQUENCIES, level=st.floats(-30_000, 30_000, width=32))
    @settings(max_examples=60, deadline=None)
    def test_a_constant_remains_constant(self, resample, samples: int, frequency: float, level: float) -> None:
        result = resample(np.full((2, samples), level, np.float32), frequency, 257)
        assert result.shape == (2, resampled_length(samples, frequency, 257))
        np.testing.assert_allclose(result, level, rtol=3e-6, atol=1e-30)

    def test_a_single_lead_and_other_memory_layouts_give_the_same(self, resample) -> None:
        values = random_counts(12, 1000)
        whole = resample(values, 500.0, 257)
        np.testing.assert_allclose(resample(values[3], 500.0, 257), whole[3], rtol=0, atol=0.01)
        assert np.array_equal(resample(np.asfortranarray(values), 500.0, 257), whole)

    @pytest.mark.parametrize("frequency", [0.0, -500.0, math.nan, math.inf])
    def test_impossible_frequencies_are_refused(self, resample, frequency: float) -> None:
        with pytest.raises(ValueError, match="cannot resample"):
            resample(np.zeros((12, 100)), frequency, 257)


@pytest.mark.parametrize("frequency", [250.0, 500.0])
def test_frames_that_are_resampled_in_parts_give_the_same(frequency: float, monkeypatch: pytest.MonkeyPatch) -> None:
    values = random_counts(2, 20_000).astype(np.float32)
    whole = resample_polyphase(values, frequency, 128)
    monkeypatch.setattr(resampling, "FRAMES_ELEMENTS", 5000)
    in_parts = resample_polyphase(values, frequency, 128)
    np.testing.assert_allclose(in_parts, whole, rtol=0, atol=0.01)  # products of fewer rows may round differently


def tone(hertz: float, frequency: float, seconds: float, phase: float = 0.0) -> NDArray[np.float64]:
    times = np.arange(int(seconds * frequency)) / frequency
    return np.sin(2 * np.pi * hertz * times + phase)[None]


def rms(values: NDArray[np.floating]) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=float))))


@given(samples=st.integers(2, 300), frequency=FREQUENCIES, target=st.sampled_from((257, 128, 125)))
@settings(max_examples=60, deadline=None)
def test_polyphase_resampling_equals_a_naive_implementation(samples: int, frequency: float, target: int) -> None:
    values = random_counts(2, samples).astype(np.float32)
    result = resample_polyphase(values, frequency, target)
    assert result.dtype == np.float32
    if frequency != target:  # the nearest of 2048 phases, if a pair of frequencies has too many: a few counts in 5000
        np.testing.assert_allclose(result, naive_polyphase(values, frequency, target), rtol=0, atol=10)


@pytest.mark.parametrize("phase", np.linspace(0, np.pi, 7))
def test_a_180_hz_tone_at_500_hz_is_not_aliased(phase: float) -> None:
    source = tone(180, 500, 10, phase) + 3
    result = resample_polyphase(source, 500, 257) - 3
    assert rms(result) < 0.01 * rms(source - 3)
    assert rms(result[:, 20:-20]) < 0.001 * rms(source - 3)
    assert rms(resample_linear(source, 500, 257) - 3) > 0.2 * rms(source - 3)  # the published method has no filter


@pytest.mark.parametrize("frequency", [257.3, 360.25, 333.333, 400, 500, 512, 1000, 1024.5, 2000])
@pytest.mark.parametrize("hertz", [145, 165])
def test_tones_above_half_the_target_frequency_are_stopped(frequency: float, hertz: float) -> None:
    if hertz < frequency / 2:
        source = tone(hertz, frequency, 10, 1.0)
        assert rms(resample_polyphase(source, frequency, 257)[:, 20:-20]) < 0.002 * rms(source)


@pytest.mark.parametrize("frequency", [90, 100, 128, 250, 257.3, 300, 333.333, 360.25, 500, 512, 1000, 2000])
@pytest.mark.parametrize("hertz", [0.5, 5, 30])
def test_tones_in_the_band_of_the_ecg_keep_amplitude_and_phase(frequency: float, hertz: float) -> None:
    result = resample_polyphase(tone(hertz, frequency, 10, 0.4), frequency, 257)
    times = np.arange(result.shape[1]) / 257
    wave = np.stack([np.sin(2 * np.pi * hertz * times), np.cos(2 * np.pi * hertz * times)], axis=1)
    sine, cosine = np.linalg.lstsq(wave, result[0].astype(float), rcond=None)[0]
    assert math.hypot(sine, cosine) == pytest.approx(1, abs=0.01)
    delay = (math.atan2(cosine, sine) - 0.4) / (2 * np.pi * hertz)  # seconds
    assert abs(delay) * 257 < 0.05
    inside = slice(ends := math.ceil(17 * max(257 / frequency, 1)), -ends)
    np.testing.assert_allclose(result[0, inside], (wave @ [math.cos(0.4), math.sin(0.4)])[inside], atol=0.002)


@pytest.mark.parametrize("frequency", [100, 500, 360.25, 1000])
def test_an_offset_does_not_ring_at_the_ends(frequency: float) -> None:
    times = np.arange(int(10 * frequency)) / frequency
    ecg_like = np.exp(-(((times % 0.8) - 0.5) ** 2) / (2 * 0.012**2)) + 0.2 * np.sin(2 * np.pi * 0.3 * times)
    plain = resample_polyphase(ecg_like[None], frequency, 257)
    raised = resample_polyphase(ecg_like[None] + 20, frequency, 257)
    np.testing.assert_allclose(raised - 20, plain, atol=5e-5)
    wanted = np.arange(plain.shape[1]) / 257
    truth = np.exp(-(((wanted % 0.8) - 0.5) ** 2) / (2 * 0.012**2)) + 0.2 * np.sin(2 * np.pi * 0.3 * wanted)
    np.testing.assert_allclose(plain[0], truth, atol=0.005)  # up to the first and the last sample


def test_a_drift_remains_straight_up_to_the_ends() -> None:
    drift = np.linspace(0, 5, 5000)[None]  # 0.5 mV a second
    result = resample_polyphase(drift, 500, 257)
    np.testing.assert_allclose(result[0], np.arange(2570) / 257 * (5 / 9.998), atol=0.002)


def test_a_step_rings_only_as_far_as_the_filter_reaches() -> None:
    step = np.zeros((1, 5000))
    step[:, 2500:] = 1
    result = resample_polyphase(step, 500, 257)[0]
    assert np.array_equal(result[: 1285 - 17], np.zeros(1285 - 17))
    np.testing.assert_allclose(result[1285 + 17 :], 1, atol=1e-6)
    assert result.min() > -0.1 and result.max() < 1.1  # Gibbs: 9 % of the step


def test_long_recordings_do_not_drift_in_time() -> None:
    minutes = tone(1, 333.333, 600)
    result = resample_polyphase(minutes, 333.333, 257)
    times = np.arange(result.shape[1]) / 257
    np.testing.assert_allclose(result[0, 30:-30], np.sin(2 * np.pi * times)[30:-30], atol=0.002)


def test_both_methods_on_real_recordings(shared_folder: Path) -> None:
    """Compare linear resampling with numpy's interp, and the filter with band-limited interpolation by FFT."""
    from scipy.signal import resample

    headers = sorted((shared_folder / "data" / "challenge").glob("*.hea"))
    assert headers
    for path in headers[::25]:
        recording = read_recording(path)
        frequency = recording.sampling_frequency
        counts = standard_leads(recording, "counts").values
        published = prepare(recording, SignalRecipe()).values
        np.testing.assert_allclose(published, naive_linear(counts, frequency, 257), rtol=0, atol=0.01)

        millivolts = standard_leads(recording, "mV").values[:, : int(5 * frequency)]
        filtered = resample_polyphase(millivolts, frequency, 257)
        mirrored = np.concatenate([millivolts, millivolts[:, ::-1]], axis=1)  # 10 s, periodic without a step
        reference = resample(mirrored.astype(float), 2570, axis=1)[:, :1285]  # cut off at half the target frequency
        error = np.sqrt(np.mean((filtered - reference)[:, 20:-20] ** 2))
        assert error < 0.01  # mV; the content of real recordings between 106 and 136 Hz
