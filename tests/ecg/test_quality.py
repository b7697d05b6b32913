"""Quality warnings: none for a good ECG, and each defect with its name and its leads."""

from __future__ import annotations

import csv
import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from leadwise.ecg import quality
from leadwise.ecg.discovery import find_recordings
from leadwise.ecg.leads import STANDARD_LEADS
from leadwise.ecg.quality import QUALITY_WARNINGS, QualityWarning, quality_warnings
from leadwise.ecg.recording import Recording, read_recording, recording_from_arrays
from leadwise.ecg.repairs import RecordingError
from leadwise.simulate import simulate
from studies.quality import CHANGES
from tests.bad_input import DOCUMENT
from tests.commands import run
from tests.conftest import header_text, v4_matrix
from tests.model.models import write_model

Millivolts = NDArray[np.float64]
RANDOM = np.random.default_rng(5)


@pytest.fixture(scope="module")
def good() -> Millivolts:
    """Return ten seconds of sinus rhythm at 500 Hz, (12, 5000), with the noise of a good recording."""
    ecg = simulate("426783006", 3, 500, 10)
    return ecg + np.random.default_rng(4).normal(0, 0.005, ecg.shape)


def in_words(millivolts: Millivolts, leads: tuple[str, ...] = STANDARD_LEADS, rate: float = 500) -> dict[str, str]:
    """Return the warnings on an ECG in words, by name."""
    counts = np.clip(np.rint(millivolts * 200), -32768, 32767).astype(np.int16)
    header = header_text("X1", counts, rate, gain="200/mV", leads=leads)
    return {warning.name: str(warning) for warning in quality_warnings(recording_from_arrays(header, counts))}


def with_lead(good: Millivolts, lead: str, values: object) -> Millivolts:
    """Return the ECG with another signal in one lead."""
    changed = good.copy()
    changed[STANDARD_LEADS.index(lead)] = values
    return changed


@pytest.mark.parametrize("rate", [100, 500, 1000])
@pytest.mark.parametrize("diagnosis", ["426783006", "164889003", "427084000", "164909002"])
def test_good_ecgs_have_no_warning(diagnosis: str, rate: int) -> None:
    for seed in range(3):
        ecg = simulate(diagnosis, seed, rate, 10)
        assert in_words(ecg + np.random.default_rng(seed).normal(0, 0.005, ecg.shape), rate=rate) == {}


def test_a_flat_lead_is_named(good: Millivolts) -> None:
    assert in_words(with_lead(good, "V2", -80))["flat"] == "V2 is flat"
    assert in_words(with_lead(good, "V2", RANDOM.normal(0, 0.01, 5000)))["flat"] == "V2 is flat"
    assert in_words(with_lead(with_lead(good, "aVF", 0), "V2", -80)) == {"flat": "aVF and V2 are flat"}
    three = with_lead(with_lead(with_lead(good, "V1", 0), "V2", 0), "V3", 0)
    assert in_words(three) == {"flat": "V1, V2 and V3 are flat"}


def test_a_lead_without_any_value_is_flat(good: Millivolts) -> None:
    counts = with_lead(good, "V2", np.nan) * 1000
    header = header_text("X1", np.nan_to_num(counts).astype(np.int16))
    assert [str(warning) for warning in quality_warnings(recording_from_arrays(header, counts))] == ["V2 is flat"]


def test_a_saturated_lead_is_cut_off(good: Millivolts) -> None:
    lead = STANDARD_LEADS.index("V4")
    found = in_words(with_lead(good, "V4", np.clip(good[lead] * 3 + np.sin(np.arange(5000) / 200), -1, 1)))
    assert found == {"cut-off": "V4 is cut off at the largest values"}
    full = with_lead(good, "V4", np.where(np.arange(5000) % 1000 < 700, 200.0, good[lead]))  # mV: beyond 16 bits
    assert in_words(full)["cut-off"] == "V4 is cut off at the largest values"


def test_a_loose_electrode_is_named(good: Millivolts) -> None:
    drift = np.linspace(0, 7, 5000)
    assert in_words(with_lead(good, "V5", good[10] + drift)) == {
        "loose": "V5 swings by many millivolts, as under a loose electrode"
    }
    steps = np.where(np.arange(5000) % 2500 < 1250, 0, 12)
    found = in_words(with_lead(with_lead(good, "V5", good[10] + steps), "V6", good[11] + steps))
    assert found["loose"] == "V5 and V6 swing by many millivolts, as under a loose electrode"


def test_a_noisy_lead_is_named(good: Millivolts) -> None:
    assert in_words(good + RANDOM.normal(0, 0.02, good.shape)) == {}
    assert in_words(with_lead(good, "V1", good[6] + RANDOM.normal(0, 0.3, 5000)))["noisy"] == "V1 is noisy"


def test_a_lead_without_the_beats_of_the_others_is_named(good: Millivolts) -> None:
    mains = 0.3 * np.sin(np.arange(5000) / 500 * 2 * np.pi * 7)
    assert in_words(with_lead(good, "V3", mains)) == {"no-beats": "V3 shows no beats"}


def exchange(good: Millivolts, right_arm: int, left_arm: int, left_leg: int) -> Millivolts:
    """Return the ECG with exchanged limb electrodes (0 right arm, 1 left arm, 2 left leg)."""
    potentials = np.array([np.zeros(5000), good[0], good[1]])[[right_arm, left_arm, left_leg]]
    i, ii = potentials[1] - potentials[0], potentials[2] - potentials[0]
    return np.array([i, ii, ii - i, -(i + ii) / 2, i - ii / 2, ii - i / 2, *good[6:]])


def test_exchanged_electrodes_are_named(good: Millivolts) -> None:
    words = "limb leads look swapped: electrodes of right arm and {}, or dextrocardia"
    assert in_words(exchange(good, 0, 1, 2)) == {}
    assert in_words(exchange(good, 1, 0, 2)) == {"limb-leads-swapped": words.format("left arm")}
    assert in_words(exchange(good, 2, 1, 0)) == {"limb-leads-swapped": words.format("left leg")}


def test_leads_with_exchanged_names_are_named(good: Millivolts) -> None:
    rows = [0, 1, 2, 3, 5, 4, *range(6, 12)]
    words = "aVL and aVF contradict Einthoven's equations: wrong names or order"
    assert in_words(good[rows]) == {"leads-contradict": words}
    cabrera = in_words(good[[4, 0, 3, 1, 5, 2, *range(6, 12)]])["leads-contradict"]
    assert cabrera.endswith("contradict Einthoven's equations: wrong names or order")
    three = (good[[1, 0, 2]], ("I", "II", "III"))
    assert in_words(*three)["leads-contradict"].startswith("I, II and III contradict")
    assert "leads-contradict" not in in_words(good[[1, 0]], ("I", "II"))  # nothing to compare


def test_equal_leads_are_named(good: Millivolts) -> None:
    words = "V3 and V5 have the same signal as another lead"
    assert in_words(with_lead(good, "V3", good[10])) == {"leads-identical": words}
    found = in_words(np.tile(good[7], (12, 1)))
    assert found["leads-identical"].startswith("I, II, III, aVR, aVL, aVF, V1, V2") and "leads-contradict" in found


def test_a_wrong_unit_is_named_and_hides_nothing(good: Millivolts) -> None:
    noisy = with_lead(good, "V1", good[6] + RANDOM.normal(0, 0.3, 5000))
    for factor, unit in ((1e-3, "volts"), (1e3, "microvolts or ADC counts")):
        counts = np.rint(1000 * noisy).astype(np.int16)
        header = header_text("X1", counts, gain=f"{1000 / factor:g}/mV")
        found = {each.name: str(each) for each in quality_warnings(recording_from_arrays(header, counts))}
        assert set(found) == {"unit", "noisy"}
        assert found["unit"].startswith(f"the unit looks wrong: the samples look like {unit}, since")


@pytest.mark.parametrize("seconds", [0.5, 3, 4.9])
def test_a_short_recording_is_named(good: Millivolts, seconds: float) -> None:
    found = in_words(good[:, : round(500 * seconds)])
    assert found == {"short": f"too short for a reliable answer: {seconds:g} s"}


@pytest.mark.parametrize(("declared", "fits"), [(100, 500), (250, 500), (1000, 500), (2500, 500)])
def test_a_wrong_sampling_frequency_is_named(good: Millivolts, declared: float, fits: int) -> None:
    words = f"the sampling frequency looks wrong: the waves fit about {fits} Hz, not the declared {declared} Hz"
    long = simulate("426783006", 3, 500, 40)
    assert in_words(long, rate=declared)["sampling-frequency"] == words


def test_bradycardia_is_no_wrong_sampling_frequency() -> None:
    for seed in (20, 22, 49, 59):  # RR interval and T fit twice the frequency, QRS does not
        ecg = simulate("426627000", seed, 500, 10)
        assert "sampling-frequency" not in in_words(ecg + np.random.default_rng(seed).normal(0, 0.005, ecg.shape))


def with_pauses(samples: int) -> Millivolts:
    """Return ten equal beats at 500 Hz, one in so many samples."""
    beat = simulate("426783006", 3, 500, 10, noise=0)[:, 802:1152].astype(np.float64)
    way = np.linspace(0, 1, samples - beat.shape[1])
    pause = np.outer(beat[:, -1], 1 - way) + np.outer(beat[:, 0], way)
    slow = np.tile(np.concatenate([beat, pause], axis=1), (1, 10))
    return slow + np.random.default_rng(4).normal(0, 0.005, slow.shape)


def test_an_implausible_rate_is_named() -> None:
    assert in_words(with_pauses(1600))["rate"] == "implausible heart rate: 19 beats a minute"
    words = "too short for a reliable answer: fewer than two clear beats in 20 s"
    assert in_words(with_pauses(2500)[:, :10000]) == {"short": words}
    assert in_words(simulate("STach", 1, 500, 30), rate=1200)["rate"].endswith("beats a minute")


@pytest.mark.parametrize(
    "make",
    [
        lambda good: RANDOM.normal(0, 0.5, good.shape),
        lambda good: RANDOM.normal(0, 0.1, good.shape),
        lambda good: tone(8),
        lambda good: tone(50),
        lambda good: tone(60),
        lambda good: np.cumsum(RANDOM.normal(0, 0.2, good.shape), axis=1),
        lambda good: np.concatenate([good[:5], np.zeros((7, 5000))]),
    ],
    ids=["noise", "little noise", "a tone", "hum", "American hum", "wandering", "seven flat leads"],
)
def test_signals_that_are_hardly_an_ecg_are_named(good: Millivolts, make: Callable[[Millivolts], Millivolts]) -> None:
    assert in_words(make(good))["hardly-an-ecg"].startswith("hardly an ECG: ")


def tone(frequency: float) -> Millivolts:
    """Return one frequency in all leads, of different sizes, with a little noise."""
    wave = np.sin(np.arange(5000) / 500 * 2 * np.pi * frequency + 0.2)
    return np.outer(np.linspace(0.1, 0.5, 12), wave) + RANDOM.normal(0, 0.005, (12, 5000))


def test_the_sentence_says_why_it_is_hardly_an_ecg(good: Millivolts) -> None:
    assert in_words(RANDOM.normal(0, 0.1, good.shape))["hardly-an-ecg"].endswith("noise without beats")
    assert in_words(tone(50))["hardly-an-ecg"].endswith("mains hum of 50 Hz alone")
    assert in_words(tone(8))["hardly-an-ecg"].endswith("an oscillation of 8 Hz alone")


def test_leads_that_the_file_lacks_are_named_and_otherwise_left_out(good: Millivolts) -> None:
    chest = "V1, V2, V3, V4, V5 and V6 are missing"
    limbs = "III, aVR, aVL and aVF are not in the file and computed from other leads"
    for leads, expected in (
        (("I", "II"), {"leads-missing": chest, "leads-computed": limbs}),
        (STANDARD_LEADS[:6], {"leads-missing": chest}),
        (("I", "II", *STANDARD_LEADS[6:]), {"leads-computed": limbs}),
    ):
        assert in_words(good[[STANDARD_LEADS.index(lead) for lead in leads]], leads) == expected


def test_leads_without_names_are_taken_in_order_with_a_warning(good: Millivolts) -> None:
    found = in_words(good, tuple(map(str, range(12))))
    assert found == {"leads-by-position": "no lead has a standard name; the standard order is assumed"}


def test_leads_with_gaps_are_not_compared(good: Millivolts) -> None:
    """As in digitised paper prints, each lead shows a quarter of the time."""
    counts = np.full(good.shape, np.nan)
    for lead in range(12):
        part = slice(lead // 3 * 1250, lead // 3 * 1250 + 1250)
        counts[lead, part] = 1000 * good[lead, part]
    found = quality_warnings(recording_from_arrays(header_text("X1", np.zeros((12, 5000), np.int16)), counts))
    assert not {each.name for each in found} - {"flat"}


def test_of_a_long_recording_most_stretches_count(good: Millivolts) -> None:
    long = np.tile(good, (1, 30))
    assert in_words(long) == {}
    long[:, :5000] = RANDOM.normal(0, 1, (12, 5000))
    assert in_words(long) == {}
    long[:, :100000] = RANDOM.normal(0, 1, (12, 100000))
    assert "hardly-an-ecg" in in_words(long)


@pytest.mark.parametrize("leads", [STANDARD_LEADS, STANDARD_LEADS[1:9]], ids=len)
def test_leads_that_are_computed_one_by_one_get_the_same_warnings(
    good: Millivolts, leads: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    long = np.tile(good, (1, 8))[: len(leads)]
    long[1], long[2] = 0, RANDOM.normal(0, 1, long.shape[1])
    expected = in_words(long, leads)
    monkeypatch.setattr(quality, "LONG", 1000)
    assert len(expected) > 1 and in_words(long, leads) == expected


@pytest.mark.parametrize(("rate", "seconds"), [*itertools.product([20, 25, 60, 257], [1, 2, 7, 70]), (20000, 2.5)])
@pytest.mark.parametrize("lead", [0, 8])
def test_any_length_and_rate_can_be_checked(rate: float, seconds: float, lead: int) -> None:
    signal = np.tile(np.arange(round(rate * seconds)) > rate * seconds / 2, (12, 1)) * 1.0
    assert set(in_words(signal[lead : lead + 3], STANDARD_LEADS[lead : lead + 3], rate)) <= set(QUALITY_WARNINGS)


@pytest.mark.parametrize("samples", [2, 3, 7, 60, 500, 1001])
def test_short_recordings_can_be_checked(good: Millivolts, samples: int) -> None:
    assert set(in_words(good[:, :samples])) <= set(QUALITY_WARNINGS)


def test_a_recording_without_a_usable_lead_is_refused() -> None:
    with pytest.raises(RecordingError, match="flat in every lead"):
        in_words(np.zeros((12, 5000)))


def test_the_recording_is_not_changed(good: Millivolts) -> None:
    counts = (good * 1000).astype(np.int16)
    recording = recording_from_arrays(header_text("X1", counts), counts)
    quality_warnings(recording)
    np.testing.assert_array_equal(recording.counts, counts)


def test_every_warning_has_words_and_a_line_in_the_document() -> None:
    for name, meaning in QUALITY_WARNINGS.items():
        assert str(QualityWarning(name, ("V1",)))
        assert f"| `{name}` | {meaning} |" in DOCUMENT.read_text()


def test_stays_are_those_of_a_naive_search() -> None:
    values = RANDOM.integers(0, 3, (12, 200)).astype(np.float32)
    for samples in range(1, 9):
        for row, found in zip(values, quality._stays(values, samples), strict=True):
            texts = ["".join("x" if value == extreme else " " for value in row) for extreme in (row.min(), row.max())]
            assert found == (max(len(run) for text in texts for run in text.split()) >= samples)


def test_the_command_prints_warnings_in_words(good: Millivolts, tmp_path: Path) -> None:
    write_model(tmp_path / "model")
    swapped = (exchange(with_lead(good, "V2", 0.0), 1, 0, 2) * 1000).astype(np.int16)
    (tmp_path / "A0001.hea").write_text(header_text("A0001", swapped))
    (tmp_path / "A0001.mat").write_bytes(v4_matrix(swapped))
    (tmp_path / "A0002.mat").write_bytes(v4_matrix((good * 1000).astype(np.int16)))
    printed = run("get_12ECG_score.py", tmp_path / "model", tmp_path / "A0001", tmp_path / "A0002.mat").stdout
    first, second = printed.split(str(tmp_path / "A0002.mat"))
    assert "  warning: V2 is flat\n  warning: limb leads look swapped: electrodes of right arm" in first
    assert "  repair (lead-flat): " in first
    assert "warning:" not in second and "repair (no-header): a MATLAB file without a header" in second


def challenge_recordings(shared_folder: Path) -> list[Recording]:
    """Return every second good recording of other hospitals, of up to a minute."""
    paths = [path for path in find_recordings(shared_folder / "data" / "challenge") if not path.name.startswith("HR")]
    recordings = map(read_recording, paths[::2])
    return [each for each in recordings if each.counts.shape[1] <= 60 * each.sampling_frequency]


@pytest.mark.parametrize("name", CHANGES)
def test_changes_of_real_recordings_are_detected(shared_folder: Path, name: str) -> None:
    change, expected = CHANGES[name]
    share = {"electrodes": 0.8, "declared as 0.72": 0.1, "declared": 0.7}
    wanted = next((each for start, each in share.items() if name.startswith(start)), 0.97)
    recordings = challenge_recordings(shared_folder)[:: 3 if "declared" in name else 1]
    found = [expected in {each.name for each in quality_warnings(change(recording))} for recording in recordings]
    assert len(found) > 15 and np.mean(found) >= wanted


def test_good_recordings_rarely_get_a_warning(shared_folder: Path, tmp_path: Path) -> None:
    """At most five of a hundred, also of hospitals on which no limit was chosen."""
    found = [bool(quality_warnings(recording)) for recording in challenge_recordings(shared_folder)]
    assert np.mean(found) <= 0.06
    unpack, pack = shared_folder / "data" / "unpack.py", shared_folder / "data" / "ptbxl"
    subprocess.run([sys.executable, unpack, pack, tmp_path, "--folds", "8"], check=True, capture_output=True)
    found = [bool(quality_warnings(read_recording(path))) for path in find_recordings(tmp_path)]
    assert len(found) == 422 and np.mean(found) <= 0.05


def test_most_bad_phone_recordings_get_a_warning_and_few_good_ones(shared_folder: Path, tmp_path: Path) -> None:
    """The rates of docs/reliability.md with some tolerance; studies/quality.py has the exact counts."""
    unpack, pack = shared_folder / "data" / "unpack.py", shared_folder / "data" / "quality"
    subprocess.run([sys.executable, unpack, pack, tmp_path], check=True, capture_output=True)
    warned, contradicting = {"acceptable": 0, "unacceptable": 0}, 0
    with (pack / "index.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            try:
                found = {each.name: each.leads for each in quality_warnings(read_recording(tmp_path / row["record"]))}
                contradicting += found.pop("leads-contradict", ()) == ("aVL", "aVF")
                warned[row["quality"]] += bool(found)
            except RecordingError:
                warned[row["quality"]] += 1
    assert warned["unacceptable"] >= 95 and warned["acceptable"] <= 25
    assert contradicting >= 120  # this data set really has aVL and aVF under each other's name
