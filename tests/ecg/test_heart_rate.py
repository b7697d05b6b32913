"""Beats and heart rate of simulated ECGs with known beats, of synthetic beats at any rate, and of noise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadwise.ecg.heart_rate import find_beats, heart_rate
from leadwise.simulate import simulate
from leadwise.simulate.patient import diagnoses_of, draw_patient
from leadwise.simulate.rhythm import make_rhythm

QRS_MIDDLE = 0.05  # s after its onset, about


def known_beats(diagnosis: str, seed: int, seconds: float) -> np.ndarray:
    """Return the onsets of QRS (s) in the recording that `simulate` makes from the same arguments and draws."""
    patient_draws, heart_draws, _ = np.random.default_rng(seed).spawn(3)
    patient = draw_patient(diagnoses_of(diagnosis), patient_draws)
    return make_rhythm(patient, seconds, heart_draws.spawn(3)[1]).onset


def synthetic(rate: float, frequency: float, seconds: float = 10.0) -> tuple[np.ndarray, np.ndarray]:
    """Return Gaussian P, QRS and T waves at a constant rate in twelve sizes, (12, samples) in mV, and their beats."""
    times = np.arange(round(seconds * frequency)) / frequency
    interval = 60 / rate
    beats = np.arange(0.4 * interval, seconds, interval)
    waves = ((-0.16, 0.03, 0.12), (0.0, 0.012, 1.0), (0.26 * np.sqrt(interval), 0.04, 0.3))
    lead = sum(size * np.exp(-0.5 * ((times - beat - at) / width) ** 2) for beat in beats for at, width, size in waves)
    return np.outer(np.linspace(-1.2, 1.4, 12), lead), beats


@pytest.mark.parametrize("diagnosis", ["NSR", "SB", "STach", "AF", "AFL", "PR", "PVC", "PAC", "LBBB", "LQRSV", "TInv"])
@pytest.mark.parametrize(("seed", "frequency", "noise"), [(1, 500, 1.0), (2, 100, 1.0), (3, 257, 2.0)])
def test_every_beat_of_a_simulated_ecg_is_found(diagnosis: str, seed: int, frequency: int, noise: float) -> None:
    found = find_beats(simulate(diagnosis, seed, frequency, noise=noise), frequency)
    middles = known_beats(diagnosis, seed, 10) + QRS_MIDDLE
    nearest = np.abs(found[:, None] - middles).min(axis=1)
    inside = middles[(middles > 0.15) & (middles < 9.85)]
    assert nearest.max() < 0.12  # no false beat
    assert np.abs(inside[:, None] - found).min(axis=1).max() < 0.12  # and no beat missed


@settings(max_examples=25)
@given(rate=st.floats(35, 200), frequency=st.sampled_from([100, 257, 500, 1000]), gain=st.floats(0.15, 20))
def test_the_rate_is_that_of_the_beats(rate: float, frequency: int, gain: float) -> None:
    signal, _ = synthetic(rate, frequency)
    assert heart_rate(gain * signal, frequency) == pytest.approx(rate, rel=0.02)


def test_the_rate_is_the_mean_and_sign_and_order_of_leads_do_not_matter() -> None:
    signal = simulate("AF", 4, 500)
    rate = heart_rate(signal, 500)
    onsets = known_beats("AF", 4, 10)
    inside = onsets[(onsets > 0.05) & (onsets < 9.9)]
    assert rate == pytest.approx(60 * (len(inside) - 1) / np.ptp(inside), rel=0.02)
    assert heart_rate(-signal[::-1], 500) == pytest.approx(rate)


def test_bad_and_missing_leads_do_not_matter() -> None:
    signal, beats = synthetic(72, 500)
    signal[6:] = 0
    rng = np.random.default_rng(0)
    signal[0] += rng.normal(size=signal.shape[1])
    signal[1, ::700] += 30  # a loose electrode
    found = find_beats(signal, 500)
    assert len(found) == len(beats)
    assert np.abs(found - beats).max() < 0.05


def test_bursts_in_all_leads_do_not_hide_the_beats() -> None:
    signal, beats = synthetic(100, 500)
    rng = np.random.default_rng(0)
    for start in (1.5, 4.3, 6.6):  # s
        burst = slice(round(500 * start), round(500 * (start + 0.3)))
        signal[:, burst] += 20 * rng.normal(size=(12, 150))
    found = find_beats(signal, 500)
    distant = [beat for beat in beats if min(abs(beat - start - 0.15) for start in (1.5, 4.3, 6.6)) > 0.6]
    assert len(distant) > 8
    assert all(np.abs(found - beat).min() < 0.05 for beat in distant)


def test_a_signal_without_beats_has_no_rate() -> None:
    rng = np.random.default_rng(0)
    assert heart_rate(np.zeros((12, 5000)), 500) is None
    assert heart_rate(np.full((12, 5000), 3.0), 500) is None
    assert heart_rate(rng.normal(size=(12, 5000)), 500) is None
    assert heart_rate(synthetic(60, 500, seconds=1.5)[0], 500) is None
    assert heart_rate(np.zeros((12, 1)), 500) is None


def test_invalid_signals_and_frequencies_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        heart_rate(np.full((12, 5000), np.nan), 500)
    with pytest.raises(ValueError, match="leads, samples"):
        heart_rate(np.zeros(5000), 500)
    for frequency in (0, 5, np.nan, np.inf):
        with pytest.raises(ValueError, match="Hz"):
            heart_rate(np.zeros((12, 5000)), frequency)
