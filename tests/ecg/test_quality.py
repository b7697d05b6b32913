"""Quality warnings: none for a good ECG, and each defect with its name and its leads."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from leadwise.ecg import quality
from leadwise.ecg.leads import STANDARD_LEADS
from leadwise.ecg.quality import QUALITY_WARNINGS, QualityWarning, quality_warnings
from leadwise.ecg.recording import read_recording, recording_from_arrays
from leadwise.ecg.repairs import RecordingError
from leadwise.simulate import simulate
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


def test_exchanged_arm_electrodes_are_detected(good: Millivolts) -> None:
    assert in_words(exchange(good, 0, 1, 2)) == {}
    assert in_words(exchange(good, 1, 0, 2)) == {"limb-leads-swapped": "limb leads look swapped"}
    assert "limb-leads-swapped" in in_words(exchange(good, 2, 1, 0))  # right arm and left leg


@pytest.mark.parametrize(
    "make",
    [
        lambda good: RANDOM.normal(0, 0.5, good.shape),
        lambda good: RANDOM.normal(0, 0.5, (12, 1)) * np.sin(np.arange(5000) / 50),
        lambda good: np.cumsum(RANDOM.normal(0, 0.2, good.shape), axis=1),
        lambda good: np.concatenate([good[:5], np.zeros((7, 5000))]),
    ],
    ids=["noise", "a tone", "wandering", "seven flat leads"],
)
def test_signals_that_are_hardly_an_ecg_are_named(good: Millivolts, make: Callable[[Millivolts], Millivolts]) -> None:
    assert in_words(make(good))["hardly-an-ecg"] == "hardly an ECG"


def test_leads_that_the_file_lacks_get_no_warning(good: Millivolts) -> None:
    for leads in (("I", "II"), ("I", "II", "V2"), STANDARD_LEADS[:6]):
        assert in_words(good[[STANDARD_LEADS.index(lead) for lead in leads]], leads) == {}


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


def test_the_longest_stay_equals_that_of_a_naive_search() -> None:
    values = RANDOM.integers(0, 3, (12, 200)).astype(np.float32)
    for row, found in zip(values, quality._longest_stay(values), strict=True):
        texts = ["".join("x" if value == extreme else " " for value in row) for extreme in (row.min(), row.max())]
        assert found == max(len(run) for text in texts for run in text.split())


def test_the_command_prints_warnings_in_words(good: Millivolts, tmp_path: Path) -> None:
    write_model(tmp_path / "model")
    swapped = (exchange(with_lead(good, "V2", 0.0), 1, 0, 2) * 1000).astype(np.int16)
    (tmp_path / "A0001.hea").write_text(header_text("A0001", swapped))
    (tmp_path / "A0001.mat").write_bytes(v4_matrix(swapped))
    (tmp_path / "A0002.mat").write_bytes(v4_matrix((good * 1000).astype(np.int16)))
    printed = run("get_12ECG_score.py", tmp_path / "model", tmp_path / "A0001", tmp_path / "A0002.mat").stdout
    first, second = printed.split(str(tmp_path / "A0002.mat"))
    assert "  note: V2 is flat\n  note: limb leads look swapped\n  repair (lead-flat): " in first
    assert "note:" not in second and "repair (no-header): a MATLAB file without a header" in second


def test_most_bad_phone_recordings_get_a_warning_and_few_good_ones(shared_folder: Path, tmp_path: Path) -> None:
    """The rates of docs/reliability.md with some tolerance; studies/quality.py has the exact counts."""
    unpack, pack = shared_folder / "data" / "unpack.py", shared_folder / "data" / "quality"
    subprocess.run([sys.executable, unpack, pack, tmp_path], check=True, capture_output=True)
    warned = {"acceptable": 0, "unacceptable": 0}
    with (pack / "index.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            try:
                warned[row["quality"]] += bool(quality_warnings(read_recording(tmp_path / row["record"])))
            except RecordingError:
                warned[row["quality"]] += 1
    assert warned["unacceptable"] >= 95 and warned["acceptable"] <= 25
