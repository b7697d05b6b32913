"""Tests of simulated ECGs: `measure.Ecg` finds the criterion of each diagnosis in the signal."""

import itertools
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadwise import simulate
from leadwise.challenge.classes import DIAGNOSES
from leadwise.ecg.header import STANDARD_LEADS
from leadwise.simulate import CRITERIA, compatible
from leadwise.simulate.databases import RHYTHMS
from leadwise.simulate.dipole import DOWER, Waves, direction, frontal_plane, render
from tests.measure import LEADS, Ecg

ROOT = Path(__file__).resolve().parents[2]
SEEDS = range(5)
LOW_NOISE = 0.03
TERRITORIES = (("II", "III", "aVF"), ("I", "aVL", "V5", "V6"), ("V1", "V2", "V3", "V4"))


def ecg(diagnosis: str | tuple[str, ...], seed: int, sampling_frequency: float = 500, seconds: float = 12) -> Ecg:
    signal = simulate.simulate(diagnosis, seed, sampling_frequency, seconds, noise=LOW_NOISE)
    return Ecg(signal, sampling_frequency)


# The criterion of each diagnosis, measured. Each function tests whether a recording meets it.


def sinus_waves(e: Ecg) -> bool:
    """Test for a P wave before each QRS, always alike, upright in II."""
    size, pr = e.p_wave()
    return size > 0.02 and 100 < pr < 400 and e.p_consistency() > 0.6 and e.lead("II", -pr, -25).max() > 0.03


def sinus_between(low: float, high: float) -> Callable[[Ecg], bool]:
    return lambda e: low < e.heart_rate < high and sinus_waves(e)


def no_p_wave(e: Ecg) -> bool:
    """Test that no wave precedes every QRS."""
    return math.isnan(e.p_wave()[1]) or e.p_consistency() < 0.4


def is_brady(e: Ecg) -> bool:
    return e.heart_rate < 60 and no_p_wave(e)


def is_af(e: Ecg) -> bool:
    between = np.concatenate([e.cut(beat)[6, : round(0.3 * e.sampling_frequency)] for beat in range(1, len(e.peaks))])
    return e.rr.std() / e.rr.mean() > 0.1 and no_p_wave(e) and between.std() > 0.01


def is_afl(e: Ecg) -> bool:
    """Test for about 300 waves a minute, clear in the inferior leads, slowly down and steeply up: a sawtooth.

    With 2:1 conduction T always falls on every second wave: the shape of the sum is not tested.
    """
    rate, heights, falling = e.flutter(("II", "III", "aVF"))
    sawtooth = e.heart_rate > 112 or (falling > 1.5).sum() >= 2
    return 220 < rate < 350 and bool((heights > 0.08).all()) and sawtooth


def is_paced(e: Ecg) -> bool:
    lag = e.onsets[:, None] - e.spikes
    before_each = ((lag > -0.012) & (lag < 0.04)).any(axis=1)
    return len(e.spikes) >= len(e.peaks) and bool(before_each.all()) and e.qrs_width > 120 and np.ptp(e.rr) < 0.03


def early_beats(e: Ecg) -> list[tuple[float, float, float, float]]:
    """Return of each early beat: width (ms), P before it (mV), beat plus pause and pause alone (usual intervals)."""
    usual = float(np.median(e.rr))
    p_size = [e.p_wave(np.nan_to_num(e.cut(beat)))[0] for beat in e.early]
    both = [float(e.rr[beat - 1] + e.rr[beat]) / usual for beat in e.early]
    pause = [float(e.rr[beat]) / usual for beat in e.early]
    return list(zip(e.widths[e.early], p_size, both, pause, strict=True))


def is_pac(e: Ecg) -> bool:
    return any(width < e.qrs_width + 8 and p > 0.02 and both < 1.93 for width, p, both, _ in early_beats(e))


def is_pvc(e: Ecg) -> bool:
    # no P before it; the pause compensates for the early beat
    return any(width > 120 and abs(both - 2) < 0.12 and pause > 1.15 for width, _, both, pause in early_beats(e))


def has_long_pr(e: Ecg) -> bool:
    return e.p_wave()[1] > 200 and sinus_waves(e)


def has_rsr(e: Ecg) -> bool:
    """Test for a second R in V1 or V2 (rSR'), S in I and V6."""
    return "+-+" in (e.pattern("V1"), e.pattern("V2")) and all(e.pattern(name).endswith("+-") for name in ("I", "V6"))


def is_rbbb(e: Ecg) -> bool:
    wide = [e.deflections(name)[-1][1] >= 40 for name in ("I", "V6")]
    return e.qrs_width > 120 and has_rsr(e) and all(wide)


def is_irbbb(e: Ecg) -> bool:
    return 110 <= e.qrs_width < 120 and has_rsr(e)


def left_pattern(e: Ecg) -> bool:
    """Test for no q and a broad R in I and V6, notched in I, aVL, V5 or V6; rS or QS in V1."""
    broad = all(e.pattern(name).startswith("+") and e.deflections(name)[0][1] > 80 for name in ("I", "V6"))
    deep = e.qrs("V1").min() < -2 * e.qrs("V1").max()
    return broad and deep and any(e.notched(name) for name in ("I", "aVL", "V5", "V6"))


def is_lbbb(e: Ecg) -> bool:
    return e.qrs_width > 120 and left_pattern(e)


def is_nsivcb(e: Ecg) -> bool:
    return 110 <= e.qrs_width < 120 and not has_rsr(e) and not left_pattern(e)


def until(e: Ecg) -> float | None:
    """Return the ms of QRS that count for the axis: the first 65 if the right ventricle is late, else all (None)."""
    return 65 if e.qrs_width > 120 and e.pattern("V1").endswith("+") else None


def is_lad(e: Ecg) -> bool:
    return -90 < e.axis(until(e)) < -30 and e.net("II", until(e)) < 0 < e.net("I", until(e))


def is_rad(e: Ecg) -> bool:
    return e.axis(until(e)) > 90 and e.net("I", until(e)) < 0 < e.net("aVF", until(e))


def is_lafb(e: Ecg) -> bool:
    start = all(e.pattern(name).startswith("+-") for name in ("II", "III", "aVF"))
    return -90 < e.axis(until(e)) < -45 and e.pattern("aVL").startswith("-+") and start


def is_low(e: Ecg) -> bool:
    return e.limb_voltage < 0.5


def has_long_qt(e: Ecg) -> bool:
    return e.qtc > 470


def pathological_q(e: Ecg, name: str) -> bool:
    first, width = (e.deflections(name) or [(0.0, 0.0)])[0]
    return first < 0 and width >= 40 and -first >= max(e.qrs(name).max(), 0.0) / 4


def has_q(e: Ecg) -> bool:
    """Test for pathological Q waves in two leads of one wall."""
    return any(sum(pathological_q(e, name) for name in wall) >= 2 for wall in TERRITORIES)


def has_abnormal_t(e: Ecg) -> bool:
    """Test that in three of I, II, V5, V6 T is below a tenth of R, inverted, or has an inverted second part."""
    found = 0
    for name in ("I", "II", "V5", "V6"):
        high, low = e.t_wave(name)
        found += high < 0.1 * e.qrs(name).max() or -low > 0.35 * high
    return found >= 3


def has_inverted_t(e: Ecg) -> bool:
    """Test for T of -0.1 mV or deeper in two leads of one wall; V1 does not count."""
    deep = {name: e.t_wave(name)[1] < -0.1 and e.t_wave(name)[0] < 0.05 for name in LEADS if name != "V1"}
    walls = (*TERRITORIES[:2], ("V2", "V3", "V4"))
    return any(sum(deep[name] for name in wall) >= 2 for wall in walls)


def is_sinus_arrhythmia(e: Ecg) -> bool:
    return np.ptp(e.rr) > 0.12 and sinus_waves(e)


CRITERION_IS_MET: dict[str, Callable[[Ecg], bool]] = {
    "NSR": lambda e: sinus_between(60, 100)(e) and e.p_wave()[1] < 200 and e.qrs_width < 110,
    "SB": sinus_between(30, 60),
    "STach": sinus_between(100, 180),
    "SA": is_sinus_arrhythmia,
    "Brady": is_brady,
    "AF": is_af,
    "AFL": is_afl,
    "PR": is_paced,
    "PAC": is_pac,
    "PVC": is_pvc,
    "IAVB": has_long_pr,
    "LPR": has_long_pr,
    "RBBB": is_rbbb,
    "IRBBB": is_irbbb,
    "LBBB": is_lbbb,
    "NSIVCB": is_nsivcb,
    "LAnFB": is_lafb,
    "LAD": is_lad,
    "RAD": is_rad,
    "LQRSV": is_low,
    "LQT": has_long_qt,
    "QAb": has_q,
    "TAb": has_abnormal_t,
    "TInv": has_inverted_t,
}


def test_every_class_has_criteria_and_a_measurement() -> None:
    scored = {"RBBB" if d.abbreviation == "CRBBB" else d.abbreviation for d in DIAGNOSES}
    assert scored == set(CRITERIA) == set(CRITERION_IS_MET)


@pytest.mark.parametrize("diagnosis", list(CRITERION_IS_MET))
def test_the_signal_meets_the_criterion_of_its_diagnosis(diagnosis: str) -> None:
    missing = [seed for seed in SEEDS if not CRITERION_IS_MET[diagnosis](ecg(diagnosis, seed))]
    assert not missing, f"{diagnosis} cannot be measured with seeds {missing}"


def test_a_healthy_heart_meets_no_other_criterion() -> None:
    for seed in SEEDS:
        healthy = ecg((), seed)
        assert CRITERION_IS_MET["NSR"](healthy)
        assert [
            key for key in sorted(set(CRITERION_IS_MET) - {"NSR", "AFL", "SA"}) if CRITERION_IS_MET[key](healthy)
        ] == []
        assert np.ptp(healthy.rr) < 0.12


@pytest.mark.parametrize(
    "pair",
    [
        ("SB", "IAVB"), ("SB", "SA"), ("NSR", "PAC"), ("NSR", "PVC"), ("NSR", "LQT"), ("RBBB", "LAD"),
        ("RBBB", "LAnFB"), ("LBBB", "LAD"), ("LBBB", "IAVB"), ("AF", "LAD"), ("SB", "LQRSV"), ("STach", "LAnFB"),
        ("LAnFB", "LAD"), ("IAVB", "RBBB"), ("TAb", "LAD"), ("QAb", "TInv"), ("NSIVCB", "SB"), ("IRBBB", "RAD"),
        ("RBBB", "RAD"), ("LQT", "TInv"),
    ],
    ids="+".join,
)  # fmt: skip
def test_the_signal_meets_the_criteria_of_two_diagnoses(pair: tuple[str, str]) -> None:
    for seed in SEEDS:
        both = ecg(pair, seed)
        assert [CRITERION_IS_MET[key](both) for key in pair] == [True, True], (pair, seed)


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(CRITERIA, 2)))
def test_every_pair_is_simulated_or_refused(one: str, other: str) -> None:
    assert compatible(one, other) == compatible(other, one)
    if compatible(one, other):
        assert np.isfinite(simulate.simulate((one, other), 3, 100, 3)).all()
    else:
        with pytest.raises(ValueError, match="cannot be simulated in one recording"):
            simulate.simulate((one, other), 3)


def test_two_rhythms_are_incompatible() -> None:
    for one, other in itertools.combinations(RHYTHMS, 2):
        assert not compatible(one, other)


def test_a_diagnosis_may_be_given_by_code_abbreviation_or_replaced_code() -> None:
    by_name = simulate.simulate("RBBB", 5, 100, 3)
    for key in ("713427006", "59118001", "CRBBB", ("RBBB",), ["RBBB", "59118001"]):
        np.testing.assert_array_equal(simulate.simulate(key, 5, 100, 3), by_name)
    with pytest.raises(ValueError, match="164865005"):
        simulate.simulate("164865005", 5)


@given(
    st.sampled_from(sorted(CRITERIA)),
    st.integers(0, 2**32),
    st.sampled_from([50, 100, 257, 300, 360.5, 500, 1000]),
    st.floats(0.5, 20),
)
@settings(max_examples=40)
def test_any_sampling_frequency_and_length_can_be_simulated(
    diagnosis: str, seed: int, sampling_frequency: float, seconds: float
) -> None:
    signal = simulate.simulate(diagnosis, seed, sampling_frequency, seconds)
    assert signal.shape == (12, round(seconds * sampling_frequency))
    assert signal.dtype == np.float32
    assert np.isfinite(signal).all()
    assert np.abs(signal).max() < 12
    one, two = signal[:2]
    half = np.float32(0.5)
    expected = [two - one, -(one + two) * half, one - two * half, two - one * half]
    np.testing.assert_array_equal(signal[2:6], expected)


def test_the_leads_are_the_standard_ones() -> None:
    assert STANDARD_LEADS == LEADS


def test_a_seed_determines_the_signal() -> None:
    first = simulate.simulate("AF", 1)
    np.testing.assert_array_equal(simulate.simulate("AF", 1), first)
    assert not np.array_equal(simulate.simulate("AF", 2), first)


@pytest.mark.parametrize("diagnosis", ["NSR", "AFL", "AF", "PVC"])
def test_another_sampling_frequency_records_the_same_heart(diagnosis: str) -> None:
    slow = simulate.simulate(diagnosis, 4, 500, 10, noise=0)
    fast = simulate.simulate(diagnosis, 4, 1000, 10, noise=0)
    assert np.abs(fast[:, ::2] - slow).max() < 0.03 * np.abs(slow).max()


def test_a_second_diagnosis_leaves_other_parameters_unchanged() -> None:
    normal, long_pr = ecg("NSR", 8), ecg(("NSR", "IAVB"), 8)
    assert abs(normal.heart_rate - long_pr.heart_rate) < 0.5
    assert abs(normal.axis() - long_pr.axis()) < 2
    assert abs(normal.qtc - long_pr.qtc) < 5


def test_noise_has_three_parts_and_is_scaled() -> None:
    clean, one, two = (simulate.simulate("NSR", 2, 500, 20, noise=noise) for noise in (0, 1, 2))
    noise = (one - clean).astype(np.float64)
    np.testing.assert_allclose(two - clean, 2 * noise, atol=1e-5)
    power = np.abs(np.fft.rfft(noise, axis=1)) ** 2
    frequency = np.fft.rfftfreq(noise.shape[1], 1 / 500)
    for low, high, least in ((0.02, 0.7, 0.1), (49.9, 50.1, 1e-5), (60, 100, 1e-5)):
        band = power[:, (frequency >= low) & (frequency <= high)].sum(axis=1) / power.sum(axis=1)
        assert (band > least).all(), (low, high)
    hum_60 = simulate.simulate("NSR", 2, 500, 20, mains=60) - clean
    peak = np.abs(np.fft.rfft(hum_60, axis=1)).sum(axis=0)
    assert peak[np.argmin(np.abs(frequency - 60))] > 3 * peak[np.argmin(np.abs(frequency - 50))]


def test_patients_differ() -> None:
    measured = [ecg("NSR", seed) for seed in range(12)]
    assert np.std([e.axis() for e in measured]) > 15
    assert np.std([e.heart_rate for e in measured]) > 5
    assert np.std([e.qrs_width for e in measured]) > 4
    assert max(e.limb_voltage for e in measured) > 1.6 * min(e.limb_voltage for e in measured)


def test_r_grows_from_v1_to_v5_and_avr_is_inverted() -> None:
    for seed in SEEDS:
        e = ecg("NSR", seed)
        share = [e.qrs(name).max() / np.ptp(e.qrs(name)) for name in ("V1", "V3", "V5")]
        assert share == sorted(share)
        assert e.net("aVR") < 0
        assert e.t_wave("aVR")[0] < 0.05


def test_invalid_arguments_are_refused() -> None:
    for arguments in ((0, 10), (500, 0), (-500, 10), (500, math.inf), (math.nan, 10), (500, 0.0001)):
        with pytest.raises(ValueError, match="no samples"):
            simulate.simulate("NSR", 1, *arguments)
    with pytest.raises(ValueError, match="noise"):
        simulate.simulate("NSR", 1, noise=-1)


@given(st.floats(-180, 180), st.floats(0.05, 3), st.floats(-2, 2))
def test_directions_have_the_requested_projections_on_the_limb_leads(
    angle: float, frontal: float, posterior: float
) -> None:
    vector = direction(angle, frontal, posterior)
    one, two = DOWER[:2] @ vector
    assert one == pytest.approx(frontal * math.cos(math.radians(angle)), abs=1e-9)
    assert two - one / 2 == pytest.approx(frontal * math.sin(math.radians(angle)) * math.sqrt(3) / 2, abs=1e-9)
    assert np.hypot(*frontal_plane(vector)) == pytest.approx(frontal)


@given(st.integers(0, 1000), st.sampled_from([100.0, 257.0, 1000.0]))
@settings(max_examples=20)
def test_rendering_equals_a_plain_sum(seed: int, sampling_frequency: float) -> None:
    rng = np.random.default_rng(seed)
    waves = Waves(rng.uniform(-1, 4, 9), rng.uniform(0.02, 0.1, 9), rng.uniform(0.02, 0.1, 9), rng.normal(size=(9, 3)))
    samples = round(3 * sampling_frequency)
    expected = np.zeros((3, samples))
    blur = 0.35 / sampling_frequency
    for centre, rise, fall, vector in zip(waves.centre, waves.rise, waves.fall, waves.vector, strict=True):
        wider = math.hypot(rise, blur), math.hypot(fall, blur)
        for sample in range(samples):
            distance = sample / sampling_frequency - centre
            width = wider[0] if distance < 0 else wider[1]
            expected[:, sample] += vector * (rise + fall) / sum(wider) * math.exp(-0.5 * (distance / width) ** 2)
    np.testing.assert_allclose(render(waves, sampling_frequency, samples), expected, atol=0.01)


def test_simulating_needs_no_torch() -> None:
    code = "import sys, leadwise.simulate; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
