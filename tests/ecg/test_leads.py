"""The twelve standard leads from leads of any set, order, spelling and unit, some of them without information."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from leadwise.ecg.leads import STANDARD_LEADS, lead_by_lead, standard_leads
from leadwise.ecg.preprocessing import prepare
from leadwise.ecg.recording import recording_from_arrays
from leadwise.ecg.repairs import RecordingError
from leadwise.recipes import SignalRecipe
from tests.ecg.recordings import make_recording, random_counts, repair_names

LEAD_SETS_2021 = (
    STANDARD_LEADS,
    ("I", "II", "III", "aVR", "aVL", "aVF"),
    ("I", "II", "III", "V2"),
    ("I", "II", "V2"),
    ("I", "II"),
)


def twelve_from(i: NDArray[np.float64], ii: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Return the limb leads by Einthoven's and Goldberger's equations."""
    return {"I": i, "II": ii, "III": ii - i, "aVR": -(i + ii) / 2, "aVL": i - ii / 2, "aVF": ii - i / 2}


def test_a_standard_file_needs_no_repair_and_keeps_its_counts() -> None:
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
    values = counts.astype(float) if unit == "counts" else (counts - 7.0) / 500
    known = twelve_from(values[0], values[1]) | dict(zip(leads, values, strict=True))
    for lead, name in enumerate(STANDARD_LEADS):
        expected = known.get(name, np.zeros(400))
        np.testing.assert_allclose(signal.values[lead], expected, rtol=1e-6, atol=1e-5 if unit == "mV" else 0)
    missing_limb = not {"III", "aVR", "aVL", "aVF"} <= set(leads)
    expected_names = {"lead-derived"} if missing_limb else set()
    assert repair_names(signal) == expected_names | ({"lead-missing"} if len(leads) < 12 else set())


def limb_leads_from(first: tuple[str, np.ndarray], second: tuple[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Solve the definitions of two limb leads for the potentials of the arms and the leg (left leg: 0)."""
    # potentials (RA, LA) with LL at 0: I = LA - RA, II = -RA, III = -LA, and Goldberger's leads
    of = {
        "I": (-1, 1), "II": (-1, 0), "III": (0, -1),
        "aVR": (1, -0.5), "aVL": (-0.5, 1), "aVF": (-0.5, -0.5),
    }  # fmt: skip
    potentials = np.linalg.solve([of[first[0]], of[second[0]]], np.stack([first[1], second[1]]))
    return {name: np.array(weights) @ potentials for name, weights in of.items()}


@given(kept=st.sets(st.sampled_from(STANDARD_LEADS), min_size=1), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_any_set_of_leads_is_completed(kept: set[str], seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = tuple(rng.permutation(sorted(kept)).tolist())
    counts = random_counts(len(names), 15, seed)
    signal = standard_leads(make_recording(counts, names), "counts")
    known = dict(zip(names, counts.astype(float), strict=True))
    pair = [name for name in STANDARD_LEADS[:6] if name in kept][:2]
    if len(pair) == 2:
        known = limb_leads_from(*((name, known[name]) for name in pair)) | known
    for lead, name in enumerate(STANDARD_LEADS):
        np.testing.assert_allclose(signal.values[lead], known.get(name, np.zeros(15)), rtol=1e-6, atol=2e-3)
    details = {repair.name: repair.detail.split(", ") for repair in signal.repairs}
    assert set(details.get("lead-missing", ())) == set(STANDARD_LEADS) - set(known)
    assert set(details.get("lead-derived", ())) == set(known) - kept


def test_derived_leads_use_each_lead_s_own_gain_in_millivolts() -> None:
    counts = np.array([[100, 200], [100, 200]], np.int16)
    values = standard_leads(make_recording(counts, ("I", "II"), gains=("100/mV", "200/mV")), "mV").values
    np.testing.assert_allclose(values[2], [-0.5, -1.0])


def test_leads_of_unknown_names_are_ignored() -> None:
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


def test_the_first_of_two_leads_of_one_name_is_used() -> None:
    counts = random_counts(3, 50)
    signal = standard_leads(make_recording(counts, ("V1", "v1", "II")), "counts")
    assert np.array_equal(signal.values[6], counts[0])
    assert {"lead-repeated", "leads-reordered"} <= repair_names(signal)


def test_an_unknown_unit_is_refused() -> None:
    with pytest.raises(ValueError, match="uV"):
        standard_leads(make_recording(random_counts(12, 9)), "uV")  # type: ignore[arg-type]


@given(bad=st.sets(st.integers(0, 39)), value=st.sampled_from((np.nan, np.inf, -np.inf, 1e300)))
@settings(max_examples=60, deadline=None)
def test_samples_that_are_not_numbers_are_interpolated(bad: set[int], value: float) -> None:
    data = random_counts(12, 40).astype(float) + 0.5
    clean = data.astype(np.float32)
    data[4, sorted(bad)] = value
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
    expected = np.tile(np.arange(30) / 1000, (12, 1))  # in float32 the differences would be 0 or 2 counts
    np.testing.assert_allclose(values, expected, rtol=1e-6)


@given(
    flat=st.sets(st.sampled_from(STANDARD_LEADS), max_size=11),
    value=st.sampled_from((0, 7, -16000, 32767, -32768)),
    samples=st.integers(2, 40),
)
@settings(max_examples=80)
def test_a_flat_lead_counts_as_missing(flat: set[str], value: int, samples: int) -> None:
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


def test_flat_leads_and_leads_of_unknown_names_are_not_usable() -> None:
    counts = random_counts(3, 50)
    counts[:2] = 4
    with pytest.raises(RecordingError, match="is flat in every lead"):
        standard_leads(make_recording(counts, ("I", "II", "X")), "counts")


def test_no_value_is_interpolated_and_true_saturation_is_kept() -> None:
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
def test_a_lead_saturated_for_most_of_its_samples_counts_as_missing(share: float, missing: bool, end: int) -> None:
    counts = random_counts(12, 1000)
    counts[7] = np.where(np.arange(1000) % 100 < 100 * share, end, end // 10 * 9 + np.arange(1000) % 7)
    signal = standard_leads(make_recording(counts), "counts")
    assert repair_names(signal) == ({"lead-saturated", "lead-missing"} if missing else set())
    assert np.array_equal(signal.values[7], np.zeros(1000) if missing else counts[7])


def test_numbers_beyond_32_bits_are_interpolated() -> None:
    data = np.tile(np.arange(20.0), (12, 1))
    data[4, 7], data[5, 8] = 1e30, float(1 << 31)  # the second is possible
    signal = standard_leads(make_recording(data), "counts")
    assert [repair.detail for repair in signal.repairs] == ["1 of 'aVL'"]
    assert signal.values[4, 7] == 7 and signal.values[5, 8] == 1 << 31


def test_a_lead_without_a_gain_is_missing_and_computed_if_possible() -> None:
    counts = random_counts(12, 300)
    gains = ("1000/mV", "1e99/mV", *("1000/mV",) * 9, "much")
    signal = standard_leads(make_recording(counts, gains=gains), "mV")
    np.testing.assert_allclose(signal.values[1], (counts[0] + counts[2]) / 1000, rtol=1e-5, atol=1e-6)
    assert not signal.values[11].any()
    details = {repair.name: repair.detail for repair in signal.repairs}
    assert details == {"lead-without-gain": "'II', 'V6'", "lead-derived": "II", "lead-missing": "V6"}


def test_an_inverted_lead_is_turned_round() -> None:
    counts = random_counts(12, 300)
    turned = counts.copy()
    turned[3] *= -1
    names = (*STANDARD_LEADS[:3], "-aVR", *STANDARD_LEADS[4:])
    signal = standard_leads(make_recording(turned, names), "counts")
    assert np.array_equal(signal.values, counts)
    assert repair_names(signal) == {"lead-inverted"}


@pytest.mark.parametrize("share", [0.1, 0.5, 0.75, 0.99])
def test_missing_samples_are_no_saturation_at_any_share(share: float) -> None:
    """The same gaps as WFDB's number for no value and as NaN give the same signal."""
    counts = random_counts(12, 4000)
    gap = slice(100, 100 + round(share * 3900))
    marked, missing = counts.copy(), counts.astype(float)
    marked[2:, gap], missing[2:, gap] = -32768, np.nan
    first, second = (standard_leads(make_recording(data), "mV") for data in (marked, missing))
    np.testing.assert_allclose(first.values, second.values, atol=1e-6)
    assert repair_names(first) == {"no-value", "samples-interpolated"}
    assert repair_names(second) == {"samples-interpolated"}


def test_a_lead_that_is_saturated_wherever_it_has_a_value_is_missing() -> None:
    counts = random_counts(12, 900)
    counts[7, :600], counts[7, 600:] = -32768, 32767
    assert {"lead-flat", "lead-missing"} <= repair_names(standard_leads(make_recording(counts), "mV"))


@pytest.mark.parametrize(
    ("value", "gain", "reason"),
    [
        (3, "1000/mV", "is flat in every lead"),
        (np.nan, "1000/mV", "no sample is a number"),
        (32767, "1000/mV", "is saturated in every lead"),
        (None, "1e99/mV", "no lead has a possible gain"),
    ],
)
def test_a_recording_without_any_usable_lead_is_refused_with_the_reason(
    value: float | None, gain: str, reason: str
) -> None:
    counts = random_counts(12, 90).astype(float)
    if value is not None:
        counts[:, np.arange(90) % 5 != (0 if value == 32767 else 9)] = value
    with pytest.raises(RecordingError, match=reason):
        standard_leads(make_recording(counts, gains=(gain,) * 12), "mV")


def test_names_with_a_meaning_are_never_taken_by_position() -> None:
    counts = random_counts(12, 300)
    shuffled = tuple(f"ECG {name}".replace("V", "C", 1) if name[0] == "V" else f"D{name}" if name in ("I", "II", "III")
                     else name for name in STANDARD_LEADS[::-1])  # fmt: skip
    signal = standard_leads(make_recording(counts, shuffled), "counts")
    assert np.array_equal(signal.values, counts[::-1])
    with pytest.raises(RecordingError, match="no lead of a standard name"):
        standard_leads(make_recording(counts, tuple(f"axis {k}" for k in "ABCDEFGHJKLM")), "counts")


@given(
    names=st.lists(st.sampled_from((*STANDARD_LEADS, "-aVR", "-II", "C2", "V8")), min_size=1, max_size=14),
    flat=st.sets(st.integers(0, 13), max_size=4),
    gap=st.sampled_from((None, -32768, np.nan)),
    unit=st.sampled_from(("counts", "mV")),
)
@settings(max_examples=80, deadline=None)
def test_leads_one_after_the_other_are_those_of_all_at_once(
    names: list[str], flat: set[int], gap: float | None, unit: str
) -> None:
    counts = random_counts(len(names), 60).astype(np.float64)
    counts[[row for row in flat if row < len(names)]] = 5
    if gap is not None:
        counts[len(names) // 2, 20:40] = gap
    recording = make_recording(counts, tuple(names), gains=tuple(f"{200 + k}/mV" for k in range(len(names))))
    try:
        expected = standard_leads(recording, unit)
    except RecordingError as refused:
        with pytest.raises(RecordingError) as caught:
            lead_by_lead(recording, unit)
        assert str(caught.value) == str(refused)
        return
    repairs, leads = lead_by_lead(recording, unit)
    found = np.concatenate(list(leads))
    assert found.dtype == np.float32 and np.array_equal(found, expected.values)
    assert set(repairs) == set(expected.repairs)
