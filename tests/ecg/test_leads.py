"""Leads, units, resampling and windows, each against a plain naive twin or a signal whose answer is known."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from leadwise.ecg.header import Header, parse_header
from leadwise.ecg.leads import SIGNAL_REPAIRS, STANDARD_LEADS, Signal, standard_leads
from leadwise.ecg.preprocessing import auxiliary_features, band_pass, demographics, prepare, scaled, window_starts
from leadwise.ecg.recording import Recording, read_recording, recording_from_arrays
from leadwise.ecg.repairs import RecordingError
from leadwise.ecg.resampling import resample_linear, resample_polyphase, resampled_length
from leadwise.recipes import ROBUST, SignalRecipe

LEAD_SETS_2021 = (
    STANDARD_LEADS,
    ("I", "II", "III", "aVR", "aVL", "aVF"),
    ("I", "II", "III", "V2"),
    ("I", "II", "V2"),
    ("I", "II"),
)
FREQUENCIES = st.one_of(
    st.sampled_from((50.0, 100.0, 128.0, 250.0, 257.3, 300.0, 360.25, 500.0, 512.0, 771.0, 1000.0, 2000.0)),
    st.floats(50, 2000).map(lambda frequency: round(frequency, 2)),
)


def make_recording(
    data: NDArray[np.generic],
    names: tuple[str, ...] = STANDARD_LEADS,
    frequency: float = 500.0,
    gains: tuple[str, ...] | None = None,
) -> Recording:
    gains = gains or ("1000/mV",) * len(names)
    lines = [f"X1 {len(names)} {frequency} {data.shape[1]}"]
    lines += [f"X1.mat 16+24 {gain} 16 0 0 0 0 {name}" for gain, name in zip(gains, names, strict=True)]
    return recording_from_arrays("\n".join(lines) + "\n#Age: 60\n#Sex: Female\n", data)


def random_counts(leads: int, samples: int, seed: int = 0) -> NDArray[np.int16]:
    return np.random.default_rng(seed).integers(-5000, 5000, (leads, samples)).astype(np.int16)


def repair_names(signal: Signal) -> set[str]:
    names = {repair.name for repair in signal.repairs}
    assert names <= set(SIGNAL_REPAIRS)
    return names


def twelve_from(i: NDArray[np.float64], ii: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """The limb leads by their textbook equations."""
    return {"I": i, "II": ii, "III": ii - i, "aVR": -(i + ii) / 2, "aVL": i - ii / 2, "aVF": ii - i / 2}


# ------------------------------------------------------------------------------------------------------ leads, units


def test_standard_file_needs_no_repair_and_keeps_its_counts() -> None:
    counts = random_counts(12, 700)
    signal = standard_leads(make_recording(counts), "counts")
    assert signal.values.dtype == np.float32
    assert np.array_equal(signal.values, counts)
    assert signal.repairs == ()
    assert signal.sampling_frequency == 500


def test_millivolts_are_counts_less_baseline_over_gain_lead_by_lead() -> None:
    counts = random_counts(12, 300)
    gains = tuple(f"{200 + 100 * lead}({10 * lead - 30})/mV" for lead in range(12))
    values = standard_leads(make_recording(counts, gains=gains), "mV").values
    for lead in range(12):
        expected = (counts[lead].astype(float) - (10 * lead - 30)) / (200 + 100 * lead)
        np.testing.assert_allclose(values[lead], expected, rtol=2e-7)


@given(order=st.permutations(range(12)), spelling=st.sampled_from((str, str.upper, str.lower)), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_any_order_and_spelling_gives_the_standard_leads(order: list[int], spelling: type[str], seed: int) -> None:
    counts = random_counts(12, 20, seed)
    names = tuple(spelling(STANDARD_LEADS[lead]) for lead in order)
    signal = standard_leads(make_recording(counts[order], names), "counts")
    assert np.array_equal(signal.values, counts)
    assert repair_names(signal) == (set() if order == sorted(order) else {"leads-reordered"})


@pytest.mark.parametrize("leads", LEAD_SETS_2021, ids=len)
@pytest.mark.parametrize("unit", ["counts", "mV"])
def test_lead_sets_of_2021_are_completed(leads: tuple[str, ...], unit: str) -> None:
    counts = random_counts(len(leads), 400)
    recording = make_recording(counts, leads, gains=("500(7)/mV",) * len(leads))
    signal = standard_leads(recording, unit)
    scaled = counts.astype(float) if unit == "counts" else (counts - 7.0) / 500
    known = twelve_from(scaled[0], scaled[1]) | dict(zip(leads, scaled, strict=True))
    for lead, name in enumerate(STANDARD_LEADS):
        expected = known.get(name, np.zeros(400))
        np.testing.assert_allclose(signal.values[lead], expected, rtol=1e-6, atol=1e-5 if unit == "mV" else 0)
    missing_limb = not {"III", "aVR", "aVL", "aVF"} <= set(leads)
    expected_names = {"lead-derived"} if missing_limb else set()
    assert repair_names(signal) == expected_names | ({"lead-missing"} if len(leads) < 12 else set())


@given(kept=st.sets(st.sampled_from(STANDARD_LEADS), min_size=1), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_any_lead_subset(kept: set[str], seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = tuple(rng.permutation(sorted(kept)).tolist())
    counts = random_counts(len(names), 15, seed)
    signal = standard_leads(make_recording(counts, names), "counts")
    known = dict(zip(names, counts.astype(float), strict=True))
    if {"I", "II"} <= kept:
        known = twelve_from(known["I"], known["II"]) | known
    for lead, name in enumerate(STANDARD_LEADS):
        assert np.array_equal(signal.values[lead], known.get(name, np.zeros(15)))
    details = {repair.name: repair.detail.split(", ") for repair in signal.repairs}
    assert set(details.get("lead-missing", ())) == set(STANDARD_LEADS) - set(known)
    assert set(details.get("lead-derived", ())) == set(known) - kept


def test_derived_leads_use_each_lead_s_own_gain_in_millivolts() -> None:
    counts = np.array([[100, 200], [100, 200]], np.int16)
    values = standard_leads(make_recording(counts, ("I", "II"), gains=("100/mV", "200/mV")), "mV").values
    np.testing.assert_allclose(values[2], [-0.5, -1.0])


def test_unknown_leads_are_ignored_by_name() -> None:
    counts = random_counts(4, 50)
    signal = standard_leads(make_recording(counts, ("PLETH", "I", "Vx\x07", "V3")), "counts")
    assert np.array_equal(signal.values[0], counts[1])
    assert np.array_equal(signal.values[8], counts[3])
    ignored = next(repair for repair in signal.repairs if repair.name == "lead-ignored")
    assert "PLETH" in ignored.detail
    assert ignored.detail.isprintable()


def test_twelve_unknown_names_are_taken_by_position() -> None:
    counts = random_counts(12, 50)
    signal = standard_leads(make_recording(counts, tuple(f"ch{lead}" for lead in range(12))), "counts")
    assert np.array_equal(signal.values, counts)
    assert repair_names(signal) == {"leads-by-position"}


@pytest.mark.parametrize("leads", [1, 11, 13])
def test_other_numbers_of_unknown_names_are_refused(leads: int) -> None:
    with pytest.raises(RecordingError, match="no lead of a standard name"):
        standard_leads(make_recording(random_counts(leads, 9), tuple(f"ch{lead}" for lead in range(leads))), "mV")


def test_of_equal_names_the_first_counts() -> None:
    counts = random_counts(3, 50)
    signal = standard_leads(make_recording(counts, ("V1", "v1", "II")), "counts")
    assert np.array_equal(signal.values[6], counts[0])
    assert {"lead-repeated", "leads-reordered"} <= repair_names(signal)


def test_an_unknown_unit_is_refused() -> None:
    with pytest.raises(ValueError, match="uV"):
        standard_leads(make_recording(random_counts(12, 9)), "uV")  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------- samples without value


@given(bad=st.sets(st.integers(0, 39)), what=st.sampled_from((np.nan, np.inf, -np.inf, 1e300)))
@settings(max_examples=60, deadline=None)
def test_samples_that_are_no_numbers_are_interpolated(bad: set[int], what: float) -> None:
    data = random_counts(12, 40).astype(float) + 0.5
    clean = data.astype(np.float32)
    data[4, sorted(bad)] = what
    signal = standard_leads(make_recording(data), "counts")
    good = sorted(set(range(40)) - bad)
    derived = clean[0] - clean[1] / 2  # aVL, from I and II
    expected = np.interp(np.arange(40), good, data[4, good]) if len(good) > 1 else derived
    np.testing.assert_allclose(signal.values[4], expected, rtol=1e-6)
    others = np.arange(12) != 4
    assert np.array_equal(signal.values[others], clean[others])
    expected_names = {"samples-interpolated"} if bad and good else {"lead-without-values"} if bad else set()
    if len(good) < 2:
        expected_names |= {"lead-derived"} | ({"lead-flat"} if good else set())
    assert repair_names(signal) == expected_names


def test_counts_near_the_largest_float_do_not_overflow_in_millivolts() -> None:
    data = np.tile(np.arange(20.0), (12, 1))
    data[3, 5] = 1e308
    signal = standard_leads(make_recording(data, gains=("0.01/mV",) * 12), "mV")
    np.testing.assert_allclose(signal.values, np.tile(np.arange(20.0) * 100, (12, 1)), rtol=1e-6)
    assert repair_names(signal) == {"samples-interpolated"}


def test_int32_counts_keep_their_value() -> None:
    data = np.tile(np.arange(20_000_000, 20_000_030, dtype=np.int32), (12, 1))
    values = standard_leads(make_recording(data, gains=("1000(20000000)/mV",) * 12), "mV").values
    np.testing.assert_allclose(
        values, np.tile(np.arange(30) / 1000, (12, 1)), rtol=1e-6
    )  # in float32 the difference would be 0 or 2 counts


# --------------------------------------------------------------------------------------------------- linear resampling


def naive_linear(values: NDArray[np.generic], frequency: float, target: float) -> NDArray[np.float64]:
    """The authors' program, lead by lead."""
    samples = values.shape[1]
    length = resampled_length(samples, frequency, target)
    source, wanted = np.linspace(0, samples, samples) / frequency, np.linspace(0, length, length) / target
    return np.stack([np.interp(wanted, source, lead) for lead in values])


@given(samples=st.integers(1, 3000), frequency=FREQUENCIES, target=st.sampled_from((257, 100, 500)))
@settings(max_examples=150, deadline=None)
def test_linear_equals_interp(samples: int, frequency: float, target: int) -> None:
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


def test_lengths_of_decimal_frequencies_are_those_of_the_decimals() -> None:
    assert resampled_length(514, 51.4, 257) == 2570
    assert resampled_length(2573, 257.3, 257) == 2570


@pytest.mark.parametrize("resample", [resample_linear, resample_polyphase])
class TestBothWays:
    def test_equal_frequency_is_untouched(self, resample) -> None:
        values = np.random.default_rng(0).normal(size=(12, 900)).astype(np.float32)
        assert np.array_equal(resample(values, 257.0, 257), values)

    @given(samples=st.integers(0, 400), frequency=FREQUENCIES, level=st.floats(-30_000, 30_000, width=32))
    @settings(max_examples=60, deadline=None)
    def test_a_constant_stays_one_at_any_length(self, resample, samples: int, frequency: float, level: float) -> None:
        result = resample(np.full((2, samples), level, np.float32), frequency, 257)
        assert result.shape == (2, resampled_length(samples, frequency, 257))
        np.testing.assert_allclose(result, level, rtol=3e-6, atol=1e-30)

    def test_one_lead_alone_and_other_layouts_give_the_same(self, resample) -> None:
        values = random_counts(12, 1000)
        whole = resample(values, 500.0, 257)
        np.testing.assert_allclose(resample(values[3], 500.0, 257), whole[3], rtol=0, atol=0.01)
        assert np.array_equal(resample(np.asfortranarray(values), 500.0, 257), whole)

    @pytest.mark.parametrize("frequency", [0.0, -500.0, math.nan, math.inf])
    def test_impossible_frequencies_are_refused(self, resample, frequency: float) -> None:
        with pytest.raises(ValueError, match="cannot resample"):
            resample(np.zeros((12, 100)), frequency, 257)


# ------------------------------------------------------------------------------------------------ polyphase resampling


def tone(hertz: float, frequency: float, seconds: float, phase: float = 0.0) -> NDArray[np.float64]:
    times = np.arange(int(seconds * frequency)) / frequency
    return np.sin(2 * np.pi * hertz * times + phase)[None]


def rms(values: NDArray[np.floating]) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=float))))


def naive_polyphase(
    values: NDArray[np.floating], frequency: float, target: float, reach: float = 16
) -> NDArray[np.float64]:
    """Each output sample on its own: a Kaiser-windowed sinc over the mirrored signal, weights that sum to one."""
    low = min(frequency, target)
    half = math.ceil(reach * frequency / low)
    samples = values.shape[1]
    mirrored = np.pad(values.astype(float), ((0, 0), (half, half)), "reflect")
    result = np.zeros((len(values), math.floor(samples * target / frequency + 1e-9)))
    for k in range(result.shape[1]):
        position = k * frequency / target
        taps = np.arange(math.floor(position) - half + 1, math.floor(position) + half + 1)
        distance = taps - position
        window = np.i0(5.65 * np.sqrt(np.maximum(1 - (distance / half) ** 2, 0)))
        weights = np.sinc(0.94 * low / frequency * distance) * window
        result[:, k] = mirrored[:, taps + half] @ (weights / weights.sum())
    return result


@given(samples=st.integers(2, 300), frequency=FREQUENCIES)
@settings(max_examples=40, deadline=None)
def test_polyphase_equals_its_naive_twin(samples: int, frequency: float) -> None:
    values = random_counts(2, samples).astype(np.float32)
    result = resample_polyphase(values, frequency, 257)
    assert result.dtype == np.float32
    if frequency != 257:  # nearest of 2048 phases where a pair of frequencies has too many: a few counts in 5000
        np.testing.assert_allclose(result, naive_polyphase(values, frequency, 257), rtol=0, atol=10)


@pytest.mark.parametrize("phase", np.linspace(0, np.pi, 7))
def test_a_180_hz_tone_at_500_hz_does_not_fold_back(phase: float) -> None:
    source = tone(180, 500, 10, phase) + 3
    result = resample_polyphase(source, 500, 257) - 3
    assert rms(result) < 0.01 * rms(source - 3)
    assert rms(result[:, 20:-20]) < 0.001 * rms(source - 3)
    assert rms(resample_linear(source, 500, 257) - 3) > 0.2 * rms(source - 3)  # the published way has no filter


@pytest.mark.parametrize("frequency", [257.3, 360.25, 333.333, 400, 500, 512, 1000, 1024.5, 2000])
@pytest.mark.parametrize("hertz", [145, 165])
def test_tones_above_half_the_target_are_stopped(frequency: float, hertz: float) -> None:
    if hertz < frequency / 2:
        source = tone(hertz, frequency, 10, 1.0)
        assert rms(resample_polyphase(source, frequency, 257)[:, 20:-20]) < 0.002 * rms(source)


@pytest.mark.parametrize("frequency", [90, 100, 128, 250, 257.3, 300, 333.333, 360.25, 500, 512, 1000, 2000])
@pytest.mark.parametrize("hertz", [0.5, 5, 30])
def test_tones_of_the_ecg_keep_amplitude_and_phase(frequency: float, hertz: float) -> None:
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


def test_a_drift_stays_straight_up_to_the_ends() -> None:
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


# ------------------------------------------------------------------------------------------------------------- prepare


@pytest.mark.parametrize("frequency", [100.0, 257.0, 360.25, 500.0, 1000.0])
def test_paper_recipe_is_counts_interpolated_lead_by_lead(frequency: float) -> None:
    counts = random_counts(12, 1500)
    signal = prepare(make_recording(counts, frequency=frequency), SignalRecipe())
    expected = counts if frequency == 257 else naive_linear(counts, frequency, 257)
    assert signal.sampling_frequency == 257
    np.testing.assert_allclose(signal.values, expected, rtol=0, atol=0.002)


def test_a_recipe_in_millivolts_with_the_filter() -> None:
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


# ------------------------------------------------------------------------------------------------------------- windows


@given(samples=st.integers(1, 60_000), window=st.integers(2, 5000), data=st.data())
def test_windows_cover_a_recording(samples: int, window: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, window - 1)) if samples < 5000 else window // 16
    starts = window_starts(samples, window, overlap)
    if samples <= window:
        assert starts.tolist() == [0]
        return
    number = math.ceil((samples - window) / (window - overlap)) + 1
    step = (samples - window) // (number - 1)
    assert starts.tolist() == [step * place for place in range(number - 1)] + [samples - window]
    gaps = np.diff(starts)  # the last window takes up what the floor has left over
    assert (gaps[:-1] <= window - overlap).all()
    assert gaps[-1] <= window - overlap + number - 2


def test_windows_of_the_paper() -> None:
    assert window_starts(4096, 4096, 256).tolist() == [0]
    assert window_starts(4097, 4096, 256).tolist() == [0, 1]
    assert window_starts(4096 + 3840, 4096, 256).tolist() == [0, 3840]
    assert window_starts(4096 + 3841, 4096, 256).tolist() == [0, 1920, 3841]
    assert window_starts(462_600, 4096, 256).dtype == np.int64
    assert len(window_starts(462_600, 4096, 256)) == 121  # half an hour


@pytest.mark.parametrize(("window", "overlap"), [(0, 0), (10, 10), (10, -1)])
def test_impossible_windows_are_refused(window: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="overlap"):
        window_starts(100, window, overlap)


# -------------------------------------------------------------------------------------------------------- demographics


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
def test_demographics(comments: tuple[str, ...], expected: list[float]) -> None:
    numbers = demographics(header_with(*comments))
    assert numbers.dtype == np.float32
    np.testing.assert_allclose(numbers, expected, rtol=1e-6)


# ----------------------------------------------------------------------------------------------------- real recordings


def test_real_recordings(shared_folder: Path) -> None:
    """Some of each database: the published way against interp, the filter against band-limited interpolation by FFT."""
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
        assert error < 0.01  # mV; what real recordings have between 106 and 136 Hz


# --------------------------------------------------------------------------------------------- leads that say nothing


@given(
    flat=st.sets(st.sampled_from(STANDARD_LEADS), max_size=11),
    value=st.sampled_from((0, 7, -16000, 32767, -32768)),
    samples=st.integers(2, 40),
)
@settings(max_examples=80)
def test_a_flat_lead_is_as_a_missing_one(flat: set[str], value: int, samples: int) -> None:
    counts = np.cumsum(np.abs(random_counts(12, samples, samples)) % 99 + 1, axis=1).astype(np.int16)  # no lead is flat
    kept = [lead for lead, name in enumerate(STANDARD_LEADS) if name not in flat]
    for name in flat:
        counts[STANDARD_LEADS.index(name)] = value
    signal = standard_leads(make_recording(counts), "counts")
    without = standard_leads(make_recording(counts[kept], tuple(STANDARD_LEADS[lead] for lead in kept)), "counts")
    assert np.array_equal(signal.values, without.values)
    named = {} if not flat else {"lead-without-values"} if value == -32768 else {"lead-flat"}
    assert repair_names(signal) - {"no-value"} == set(named) | repair_names(without)


@pytest.mark.parametrize("value", [0, 5, -16000, 32767])
def test_a_recording_flat_in_every_lead_is_refused(value: int) -> None:
    with pytest.raises(RecordingError, match="is flat in every lead"):
        prepare(make_recording(np.full((12, 500), value, np.int16)), SignalRecipe())
    with pytest.raises(RecordingError, match="is flat in every lead"):
        prepare(make_recording(np.full((2, 500), value, np.int16), ("I", "II")), SignalRecipe())
    with pytest.raises(RecordingError, match="no sample is a number"):
        prepare(make_recording(np.full((12, 500), np.nan)), SignalRecipe())


def test_a_flat_lead_of_no_standard_name_is_no_usable_one() -> None:
    counts = random_counts(3, 50)
    counts[:2] = 4
    with pytest.raises(RecordingError, match="is flat in every lead"):
        standard_leads(make_recording(counts, ("I", "II", "X")), "counts")


def test_no_value_is_interpolated_and_honest_saturation_stays() -> None:
    counts = random_counts(12, 400)
    ramp = np.linspace(0, -32768, 100).astype(np.int16)
    counts[6, :300] = np.concatenate([ramp, np.full(100, -32768), ramp[::-1]])  # reached in steps: a saturation
    counts[7, 50:90] = -32768
    counts[8, :30] = counts[8, 390:] = -32768  # at the recording's ends
    signal = standard_leads(make_recording(counts), "counts")
    assert {repair.name: repair.detail for repair in signal.repairs} == {
        "no-value": "40 of 'V2', 30 of 'V3', 10 of 'V3'",
        "samples-interpolated": "40 of 'V2', 40 of 'V3'",
    }
    expected = counts.astype(np.float32)
    expected[7, 50:90] = np.interp(np.arange(50, 90), [49, 90], counts[7, [49, 90]])
    expected[8, :30], expected[8, 390:] = counts[8, 30], counts[8, 389]
    np.testing.assert_allclose(signal.values, expected, rtol=1e-6)


@pytest.mark.parametrize(("code", "mark"), [("16", -32768), ("212", -2048), ("310", -512), ("24", -(1 << 23))])
def test_each_format_has_its_own_number_for_no_value(code: str, mark: int) -> None:
    counts = (random_counts(1, 200) // 40).astype(np.int32)
    counts[0, 40:60] = mark
    header = f"X1 1 500 200\nX1.dat {code} 1000/mV 16 0 0 0 0 V1\n"
    assert repair_names(standard_leads(recording_from_arrays(header, counts), "counts")) == {
        "lead-missing",
        "no-value",
        "samples-interpolated",
    }
    counts[0, 40:60] = mark + 1
    assert repair_names(standard_leads(recording_from_arrays(header, counts), "counts")) == {"lead-missing"}


@pytest.mark.parametrize(("share", "missing"), [(0.2, False), (0.45, False), (0.55, True), (0.95, True)])
@pytest.mark.parametrize("end", [32767, -32768])
def test_a_lead_mostly_at_the_ends_of_its_range_is_missing(share: float, missing: bool, end: int) -> None:
    counts = random_counts(12, 1000)
    counts[7] = np.where(np.arange(1000) % 100 < 100 * share, end, end // 10 * 9 + np.arange(1000) % 7)
    signal = standard_leads(make_recording(counts), "counts")
    assert repair_names(signal) == ({"lead-saturated", "lead-missing"} if missing else set())
    assert np.array_equal(signal.values[7], np.zeros(1000) if missing else counts[7])


def test_numbers_that_no_converter_gives_are_interpolated() -> None:
    data = np.tile(np.arange(20.0), (12, 1))
    data[4, 7], data[5, 8] = 1e30, float(1 << 31)  # the second is possible
    signal = standard_leads(make_recording(data), "counts")
    assert [repair.detail for repair in signal.repairs] == ["1 of 'aVL'"]
    assert signal.values[4, 7] == 7 and signal.values[5, 8] == 1 << 31


@pytest.mark.parametrize("hertz", [0.1, 5.0, 20.0, 60.0])
def test_a_band_keeps_what_lies_inside_and_its_place_in_time(hertz: float) -> None:
    frequency = 128.0
    tone = np.sin(2 * np.pi * hertz * np.arange(1280) / frequency)[None].astype(np.float32)
    inside = band_pass(tone, frequency, (0.5, 40.0))[:, 256:-256]
    strength = float(np.std(inside) / np.std(tone[:, 256:-256]))
    if 1 < hertz < 30:
        np.testing.assert_allclose(inside, tone[:, 256:-256], atol=0.05)
    else:
        assert strength < 0.05


def test_a_band_does_not_ring_at_the_ends_of_an_offset() -> None:
    assert np.abs(band_pass(np.full((2, 600), 3.0, np.float32), 128.0, (0.5, 40.0))).max() < 1e-3


@pytest.mark.parametrize("samples", [1, 2, 5, 20])
def test_a_band_of_the_shortest_signals(samples: int) -> None:
    assert band_pass(np.ones((12, samples), np.float32), 128.0, (0.5, 40.0)).shape == (12, samples)


@given(gain=st.floats(0.05, 50), seed=st.integers(0, 99))
def test_scaled_signals_know_no_gain_but_their_scale_does(gain: float, seed: int) -> None:
    values = (0.2 * np.random.default_rng(seed).normal(size=(12, 300))).astype(np.float32)
    values[4] = 0  # a missing lead weighs nothing
    (one, scale), (other, larger) = scaled(values), scaled((gain * values).astype(np.float32))
    np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)
    assert larger / scale == pytest.approx(gain, rel=1e-3)
    assert np.sqrt(np.mean(one[one.any(1)] ** 2)) == pytest.approx(1, rel=1e-3)


def test_what_is_no_ecg_stays_finite() -> None:
    values = np.zeros((12, 100), np.float32)
    assert not scaled(values)[0].any()
    values[0, 5] = 3e38
    assert np.isfinite(scaled(values)[0]).all()


def test_recipe_robust_tells_the_scale_beside_age_and_sex() -> None:
    recording = make_recording(random_counts(12, 5000))
    signal = prepare(recording, ROBUST.signal)
    numbers = auxiliary_features(recording.header, signal)
    assert signal.values.shape == (12, 1280) and numbers.shape == (6,)
    np.testing.assert_array_equal(numbers[:5], demographics(recording.header))
    assert numbers[5] == pytest.approx(math.log(signal.scale / 0.2))
    assert auxiliary_features(recording.header, prepare(recording, SignalRecipe())).shape == (5,)
