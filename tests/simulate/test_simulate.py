"""Simulated ECGs: each diagnosis is in the signal, as measured by `measure.Ecg`; files are the Challenge's."""

import itertools
import math
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadwise import simulate
from leadwise.challenge.classes import DIAGNOSES, EQUIVALENTS, label_vector
from leadwise.ecg import leads as leads_module
from leadwise.ecg.recording import read_recording
from leadwise.simulate import CRITERIA, DATABASES, compatible, write_folder
from leadwise.simulate.databases import DEFAULT_SOURCES, RHYTHMS, count, draw_diagnoses
from leadwise.simulate.dipole import DOWER, Waves, direction, frontal_plane, render
from tests.measure import LEADS, Ecg

ROOT = Path(__file__).resolve().parents[2]
SEEDS = range(5)
LOW_NOISE = 0.03
TERRITORIES = (("II", "III", "aVF"), ("I", "aVL", "V5", "V6"), ("V1", "V2", "V3", "V4"))


def ecg(diagnosis: str | tuple[str, ...], seed: int, sampling_frequency: float = 500, seconds: float = 12) -> Ecg:
    signal = simulate.simulate(diagnosis, seed, sampling_frequency, seconds, noise=LOW_NOISE)
    return Ecg(signal, sampling_frequency)


# What each diagnosis means, measured. Each function answers for a recording that has the diagnosis or has not.


def sinus_waves(e: Ecg) -> bool:
    """A P wave before each QRS, always alike, upright in II."""
    size, pr = e.p_wave()
    return size > 0.02 and 100 < pr < 400 and e.p_consistency() > 0.6 and e.lead("II", -pr, -25).max() > 0.03


def sinus_between(low: float, high: float) -> Callable[[Ecg], bool]:
    return lambda e: low < e.heart_rate < high and sinus_waves(e)


def no_p_wave(e: Ecg) -> bool:
    """Nothing that comes before QRS every time."""
    return math.isnan(e.p_wave()[1]) or e.p_consistency() < 0.4


def is_brady(e: Ecg) -> bool:
    return e.heart_rate < 60 and no_p_wave(e)


def is_af(e: Ecg) -> bool:
    between = np.concatenate([e.cut(beat)[6, : round(0.3 * e.sampling_frequency)] for beat in range(1, len(e.peaks))])
    return e.rr.std() / e.rr.mean() > 0.1 and no_p_wave(e) and between.std() > 0.01


def is_afl(e: Ecg) -> bool:
    """About 300 waves a minute, clear in the inferior leads, slowly down and steeply up: a sawtooth.

    With 2:1 conduction T falls on every second wave, always alike: their common shape says nothing of either.
    """
    rate, heights, falling = e.flutter(("II", "III", "aVF"))
    sawtooth = e.heart_rate > 112 or (falling > 1.5).sum() >= 2
    return 220 < rate < 350 and bool((heights > 0.08).all()) and sawtooth


def is_paced(e: Ecg) -> bool:
    lag = e.onsets[:, None] - e.spikes
    before_each = ((lag > -0.012) & (lag < 0.04)).any(axis=1)
    return len(e.spikes) >= len(e.peaks) and bool(before_each.all()) and e.qrs_width > 120 and np.ptp(e.rr) < 0.03


def early_beats(e: Ecg) -> list[tuple[float, float, float, float]]:
    """Of each early beat: width (ms), P before it (mV), and it and the pause after it by the usual interval."""
    usual = float(np.median(e.rr))
    p_size = [e.p_wave(np.nan_to_num(e.cut(beat)))[0] for beat in e.early]
    both = [float(e.rr[beat - 1] + e.rr[beat]) / usual for beat in e.early]
    pause = [float(e.rr[beat]) / usual for beat in e.early]
    return list(zip(e.widths[e.early], p_size, both, pause, strict=True))


def is_pac(e: Ecg) -> bool:
    return any(width < e.qrs_width + 8 and p > 0.02 and both < 1.93 for width, p, both, _ in early_beats(e))


def is_pvc(e: Ecg) -> bool:
    # no P: nothing but the end of the T wave before; the pause makes up for the early beat
    return any(width > 120 and abs(both - 2) < 0.12 and pause > 1.15 for width, _, both, pause in early_beats(e))


def has_long_pr(e: Ecg) -> bool:
    return e.p_wave()[1] > 200 and sinus_waves(e)


def has_rsr(e: Ecg) -> bool:
    """A second R in V1 or V2 (rSR'), S in I and V6."""
    return "+-+" in (e.pattern("V1"), e.pattern("V2")) and all(e.pattern(name).endswith("+-") for name in ("I", "V6"))


def is_rbbb(e: Ecg) -> bool:
    wide = [e.deflections(name)[-1][1] >= 40 for name in ("I", "V6")]
    return e.qrs_width > 120 and has_rsr(e) and all(wide)


def is_irbbb(e: Ecg) -> bool:
    return 110 <= e.qrs_width < 120 and has_rsr(e)


def left_pattern(e: Ecg) -> bool:
    """No q and a broad R in I and V6, notched in I, aVL, V5 or V6; rS or QS in V1."""
    broad = all(e.pattern(name).startswith("+") and e.deflections(name)[0][1] > 80 for name in ("I", "V6"))
    deep = e.qrs("V1").min() < -2 * e.qrs("V1").max()
    return broad and deep and any(e.notched(name) for name in ("I", "aVL", "V5", "V6"))


def is_lbbb(e: Ecg) -> bool:
    return e.qrs_width > 120 and left_pattern(e)


def is_nsivcb(e: Ecg) -> bool:
    return 110 <= e.qrs_width < 120 and not has_rsr(e) and not left_pattern(e)


def until(e: Ecg) -> float | None:
    """How much of QRS counts for the axis, ms: the first part where the right ventricle comes late, else all (None)."""
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
    """Pathological Q waves in two leads of one wall."""
    return any(sum(pathological_q(e, name) for name in wall) >= 2 for wall in TERRITORIES)


def has_abnormal_t(e: Ecg) -> bool:
    """In three of I, II, V5, V6: T below a tenth of R, upside down, or with a second part upside down."""
    found = 0
    for name in ("I", "II", "V5", "V6"):
        high, low = e.t_wave(name)
        found += high < 0.1 * e.qrs(name).max() or -low > 0.35 * high
    return found >= 3


def has_inverted_t(e: Ecg) -> bool:
    """T of -0.1 mV or deeper in two leads of one wall; V1 does not count."""
    deep = {name: e.t_wave(name)[1] < -0.1 and e.t_wave(name)[0] < 0.05 for name in LEADS if name != "V1"}
    walls = (*TERRITORIES[:2], ("V2", "V3", "V4"))
    return any(sum(deep[name] for name in wall) >= 2 for wall in walls)


def is_sinus_arrhythmia(e: Ecg) -> bool:
    return np.ptp(e.rr) > 0.12 and sinus_waves(e)


MEANING: dict[str, Callable[[Ecg], bool]] = {
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

# What the healthy heart must not show (a left block of the anterior fascicle has a left axis, and so on).
ABSENT_IN_HEALTH = sorted(set(MEANING) - {"NSR"})


def test_every_class_has_criteria_and_a_measurement() -> None:
    scored = {"RBBB" if d.abbreviation == "CRBBB" else d.abbreviation for d in DIAGNOSES}
    assert scored == set(CRITERIA) == set(MEANING)


@pytest.mark.parametrize("diagnosis", list(MEANING))
def test_the_criterion_is_in_the_signal(diagnosis: str) -> None:
    missing = [seed for seed in SEEDS if not MEANING[diagnosis](ecg(diagnosis, seed))]
    assert not missing, f"{diagnosis} cannot be measured with seeds {missing}"


def test_a_healthy_heart_shows_none_of_the_others() -> None:
    for seed in SEEDS:
        healthy = ecg((), seed)
        assert MEANING["NSR"](healthy)
        assert [key for key in ABSENT_IN_HEALTH if key not in ("AFL", "SA") and MEANING[key](healthy)] == []
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
def test_two_diagnoses_at_once_are_both_in_the_signal(pair: tuple[str, str]) -> None:
    for seed in SEEDS:
        both = ecg(pair, seed)
        assert [MEANING[key](both) for key in pair] == [True, True], (pair, seed)


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(CRITERIA, 2)))
def test_pairs_are_simulated_or_refused(one: str, other: str) -> None:
    assert compatible(one, other) == compatible(other, one)
    if compatible(one, other):
        assert np.isfinite(simulate.simulate((one, other), 3, 100, 3)).all()
    else:
        with pytest.raises(ValueError, match="cannot be simulated in one recording"):
            simulate.simulate((one, other), 3)


def test_rates_cannot_contradict_each_other() -> None:
    for one, other in itertools.combinations(RHYTHMS, 2):
        assert not compatible(one, other)


def test_diagnoses_go_by_code_abbreviation_or_replaced_code() -> None:
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
def test_any_rate_and_length(diagnosis: str, seed: int, sampling_frequency: float, seconds: float) -> None:
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
    assert simulate.dipole.LEADS == leads_module.STANDARD_LEADS == LEADS


def test_same_seed_same_signal_other_seed_other_signal() -> None:
    first = simulate.simulate("AF", 1)
    np.testing.assert_array_equal(simulate.simulate("AF", 1), first)
    assert not np.array_equal(simulate.simulate("AF", 2), first)


@pytest.mark.parametrize("diagnosis", ["NSR", "AFL", "AF", "PVC"])
def test_another_sampling_frequency_records_the_same_heart(diagnosis: str) -> None:
    slow = simulate.simulate(diagnosis, 4, 500, 10, noise=0)
    fast = simulate.simulate(diagnosis, 4, 1000, 10, noise=0)
    assert np.abs(fast[:, ::2] - slow).max() < 0.03 * np.abs(slow).max()


def test_another_diagnosis_changes_only_what_it_must() -> None:
    normal, long_pr = ecg("NSR", 8), ecg(("NSR", "IAVB"), 8)
    assert abs(normal.heart_rate - long_pr.heart_rate) < 0.5
    assert abs(normal.axis() - long_pr.axis()) < 2
    assert abs(normal.qtc - long_pr.qtc) < 5


def test_noise_is_of_three_kinds_and_scales() -> None:
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


def test_r_grows_from_v1_to_v5_and_avr_is_upside_down() -> None:
    for seed in SEEDS:
        e = ecg("NSR", seed)
        share = [e.qrs(name).max() / np.ptp(e.qrs(name)) for name in ("V1", "V3", "V5")]
        assert share == sorted(share)
        assert e.net("aVR") < 0
        assert e.t_wave("aVR")[0] < 0.05


def test_bad_arguments_are_refused() -> None:
    for arguments in ((0, 10), (500, 0), (-500, 10), (500, math.inf), (math.nan, 10), (500, 0.0001)):
        with pytest.raises(ValueError, match="no samples"):
            simulate.simulate("NSR", 1, *arguments)
    with pytest.raises(ValueError, match="noise"):
        simulate.simulate("NSR", 1, noise=-1)


@given(st.floats(-180, 180), st.floats(0.05, 3), st.floats(-2, 2))
def test_directions_show_in_the_limb_leads_as_asked(angle: float, frontal: float, posterior: float) -> None:
    vector = direction(angle, frontal, posterior)
    one, two = DOWER[:2] @ vector
    assert one == pytest.approx(frontal * math.cos(math.radians(angle)), abs=1e-9)
    assert two - one / 2 == pytest.approx(frontal * math.sin(math.radians(angle)) * math.sqrt(3) / 2, abs=1e-9)
    assert np.hypot(*frontal_plane(vector)) == pytest.approx(frontal)


@given(st.integers(0, 1000), st.sampled_from([100.0, 257.0, 1000.0]))
@settings(max_examples=20)
def test_rendering_equals_the_plain_sum(seed: int, sampling_frequency: float) -> None:
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


# Folders


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulated")
    write_folder(folder, 60, 7, class_floor=0.04, sources=[*DEFAULT_SOURCES, "U"], longest=20)
    return folder


def test_every_recording_reads_as_the_challenges_do(simulated: Path) -> None:
    headers = sorted(simulated.glob("*.hea"))
    assert len(headers) == 60
    assert {path.suffix for path in simulated.iterdir()} == {".hea", ".mat"}
    for path in headers:
        recording = read_recording(path)
        header = recording.header
        database = DATABASES[header.source]
        assert header.sampling_frequency == database.sampling_frequency
        assert header.samples == recording.counts.shape[1]
        assert recording.counts.dtype == np.int16
        assert recording.repairs == ()
        assert recording.lead_names == LEADS
        assert set(recording.adc_gain) == {1000.0}
        assert label_vector(header.codes).any()
        assert header.sex in ("female", "male")
        assert header.age is None or 18 <= header.age <= 89
        assert (
            min(database.seconds[0], 20) <= header.samples / header.sampling_frequency <= min(database.seconds[2], 20)
        )


def test_checksums_and_first_values_are_true(simulated: Path) -> None:
    for path in sorted(simulated.glob("*.hea"))[:5]:
        counts = read_recording(path).counts.astype(np.int64)
        fields = [line.split() for line in path.read_text().splitlines()[1:13]]
        assert [int(field[5]) for field in fields] == counts[:, 0].tolist()
        assert [int(field[6]) % 65536 for field in fields] == (counts.sum(axis=1) % 65536).tolist()


def test_a_class_floor_brings_every_class(simulated: Path) -> None:
    labels = np.array([label_vector(read_recording(path).header.codes) for path in simulated.glob("*.hea")])
    # 0.04 of 60 is 3 of each class that is promised, as far as 60 recordings hold 24 x 3
    assert (labels.sum(axis=0) >= 1).all()


def test_same_arguments_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_folder(tmp_path / name, 6, 3, sources=("A", "HR"))
    write_folder(tmp_path / "other", 6, 4, sources=("A", "HR"))
    files = {path.name for path in (tmp_path / "one").iterdir()}
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in files)
    assert any(
        not (tmp_path / "other" / name).exists()
        or (tmp_path / "one" / name).read_bytes() != (tmp_path / "other" / name).read_bytes()
        for name in files
    )


@pytest.mark.parametrize("prefix", [*DEFAULT_SOURCES, "U"])
def test_diagnoses_are_as_frequent_as_in_the_database(prefix: str) -> None:
    database, rng, draws = DATABASES[prefix], np.random.default_rng(11), 1500
    drawn = [draw_diagnoses(database, rng) for _ in range(draws)]
    assert all(drawn)
    assert all(compatible(*pair) for diagnoses in drawn for pair in itertools.combinations(diagnoses, 2))
    found = Counter(key for diagnoses in drawn for key in diagnoses)
    recordings = count(database, "recordings")
    for key in CRITERIA:
        share = count(database, key) / recordings
        # three standard errors, and a third for pairs that contradict each other
        assert abs(found[key] / draws - share) < 0.35 * share + 3 * math.sqrt(share / draws) + 0.002, key


def test_equivalent_codes_are_written_as_the_database_does(simulated: Path) -> None:
    codes = {code for path in simulated.glob("*.hea") for code in read_recording(path).header.codes}
    assert codes & set(EQUIVALENTS)


@pytest.mark.parametrize(
    "arguments",
    [
        {"sources": ["X"]},
        {"sources": []},
        {"sources": ["A", "A"]},
        {"class_floor": 0.05},
        {"class_floor": -0.1},
        {"longest": 0.5},
        {"recordings": 0},
    ],
)
def test_bad_folders_are_refused(tmp_path: Path, arguments: dict) -> None:
    with pytest.raises(ValueError):
        write_folder(tmp_path / "new", **{"recordings": 3, "seed": 1, **arguments})
    assert not (tmp_path / "new").exists()


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "leadwise.simulate", *arguments]
    return subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)


def test_the_command_writes_a_folder(tmp_path: Path) -> None:
    done = run_command(str(tmp_path / "out"), "--recordings", "3", "--seed", "5", "--sources", "HR,U")
    assert done.returncode == 0, done.stderr
    assert "3 simulated recordings" in done.stdout
    assert len(list((tmp_path / "out").glob("*.mat"))) == 3


def test_the_command_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    assert run_command("--help").returncode == 0
    for wrong in (["--record", "3"], ["--recordings", "3", "--sources", "X"], ["--recordings", "0"], []):
        done = run_command(str(tmp_path / "out"), *wrong)
        assert done.returncode == 2
        assert "error" in done.stderr
    assert not (tmp_path / "out").exists()


def test_simulating_needs_no_torch() -> None:
    code = "import sys, leadwise.simulate; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
