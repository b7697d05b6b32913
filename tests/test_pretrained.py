"""The pretrained model is complete and small, and tells simulated diagnoses apart."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import butter, sosfiltfilt

import leadwise
from leadwise.ecg.leads import STANDARD_LEADS
from leadwise.model.folder import RENAMED_KEYS, SEEN, SIMULATION_NETWORK, VERSION
from leadwise.result import ABBREVIATIONS
from leadwise.simulate import simulate
from leadwise.simulate.folder import write_folder

ROOT = Path(__file__).resolve().parents[1]
PRETRAINED = ROOT / "pretrained"


@pytest.fixture(scope="module")
def model() -> leadwise.Classifier:
    return leadwise.load()


def test_it_is_small_and_its_card_describes_it() -> None:
    files = {path.name: path.stat().st_size for path in PRETRAINED.iterdir()}
    assert sum(files.values()) < 40_000_000
    assert set(files) == {"model.json", "fold0.safetensors", SIMULATION_NETWORK, "model_card.md", SEEN}
    card = (PRETRAINED / "model_card.md").read_text(encoding="utf-8")
    for words in ("PTB-XL", "CC BY 4.0", "**Not a medical device**"):
        assert words in " ".join(card.split()), words


def test_it_was_trained_on_ptb_xl_alone() -> None:
    names = (PRETRAINED / SEEN).read_text().split()
    assert len(names) > 3000 and all(name.startswith("HR") for name in names)


@pytest.mark.parametrize(("diagnosis", "others"), [("AF", ["NSR"]), ("NSR", ["AF", "LBBB"]), ("LBBB", ["AF"])])
def test_it_tells_a_simulated_diagnosis_from_others(
    model: leadwise.Classifier, diagnosis: str, others: list[str]
) -> None:
    """No test of quality, but a model whose leads or classes are mixed up would fail."""

    def mean(found: str, key: str) -> float:
        signals = [simulate([] if key == "NSR" else [key], seed, 500, 10) for seed in range(6)]
        results = [model.predict(x, 500, STANDARD_LEADS, unit="mV") for x in signals]
        return float(np.mean([result.probabilities[ABBREVIATIONS.index(found)] for result in results]))

    for other in others:
        assert mean(diagnosis, diagnosis) > mean(diagnosis, other)


@pytest.mark.parametrize("change", ["cut", "noise", "band-pass"])
def test_a_small_change_of_a_recording_keeps_its_labels(model: leadwise.Classifier, change: str) -> None:
    """As a device or an export changes it: 0.2 s shorter, 1 nV of noise, the band-pass of the recipe itself."""
    rng, filters = np.random.default_rng(0), butter(2, (0.5, 40), "bandpass", fs=500, output="sos")
    signals = [
        simulate([key], seed, 500, 9.6) for seed, key in enumerate(("AF", "LBBB", "SB", "PAC", "LAD", "IAVB") * 7)
    ]
    changed = {
        "cut": lambda signal: signal[:, :4700],
        "noise": lambda signal: signal + rng.normal(0, 1e-6, signal.shape),
        "band-pass": lambda signal: sosfiltfilt(filters, signal),
    }[change]
    before = model.predict(signals, 500, STANDARD_LEADS, unit="mV")
    after = model.predict([changed(signal) for signal in signals], 500, STANDARD_LEADS, unit="mV")
    kept = [(one.labels == other.labels).all() for one, other in zip(before, after, strict=True)]
    assert np.mean(kept) >= 0.95


def test_a_recording_at_an_unknown_frequency_is_out_of_distribution(tmp_path: Path) -> None:
    """At 300 Hz, which PTB-XL does not have; shown in words and in JSON."""
    write_folder(tmp_path, 1, seed=1, sources=["U"])
    path = next(tmp_path.glob("*.mat"))
    result = leadwise.load().predict(path)
    assert result.out_of_distribution and leadwise.Result.OUT_OF_DISTRIBUTION in str(result)
    for option, expected in (
        ((), f"note: {leadwise.Result.OUT_OF_DISTRIBUTION}"),
        (("--json",), '"out_of_distribution": true'),
    ):
        command = [sys.executable, "get_12ECG_score.py", "pretrained", str(path), *option]
        printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert expected in printed


def test_the_driver_finds_it_by_its_name(tmp_path: Path) -> None:
    write_folder(tmp_path / "data", 6, seed=1)
    command = [sys.executable, "driver.py", "pretrained", str(tmp_path / "data"), str(tmp_path / "out")]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0
    assert len(list((tmp_path / "out").glob("*.csv"))) == 6


def test_its_metadata_have_the_present_format() -> None:
    metadata = json.loads((PRETRAINED / "model.json").read_text(encoding="utf-8"))
    assert metadata["version"] == VERSION and metadata["simulation_network"]["file"] == SIMULATION_NETWORK
    assert not {f'"{key}":' for key in RENAMED_KEYS} & set((PRETRAINED / "model.json").read_text().split())
