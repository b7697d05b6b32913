"""Tests of simulated folders: Challenge files with the frequencies of the Challenge's databases, and the command."""

import itertools
import math
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from leadwise.challenge.classes import EQUIVALENTS, label_vector
from leadwise.ecg.recording import read_recording
from leadwise.simulate import CRITERIA, DATABASES, compatible, write_folder
from leadwise.simulate.databases import DEFAULT_SOURCES
from tests.measure import LEADS

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulated")
    write_folder(folder, 60, 7, class_floor=0.04, sources=[*DEFAULT_SOURCES, "U"], longest=20)
    return folder


def test_every_recording_is_read_without_repairs(simulated: Path) -> None:
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


def test_headers_have_the_right_checksums_and_first_values(simulated: Path) -> None:
    for path in sorted(simulated.glob("*.hea"))[:5]:
        counts = read_recording(path).counts.astype(np.int64)
        fields = [line.split() for line in path.read_text().splitlines()[1:13]]
        assert [int(field[5]) for field in fields] == counts[:, 0].tolist()
        assert [int(field[6]) % 65536 for field in fields] == (counts.sum(axis=1) % 65536).tolist()


def test_with_a_class_floor_every_class_occurs(simulated: Path) -> None:
    labels = np.array([label_vector(read_recording(path).header.codes) for path in simulated.glob("*.hea")])
    # 0.04 of 60 requires 3 of each class, as far as 60 recordings hold 24 x 3
    assert (labels.sum(axis=0) >= 1).all()


def test_the_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
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
    drawn = [database.draw_diagnoses(rng) for _ in range(draws)]
    assert all(drawn)
    assert all(compatible(*pair) for diagnoses in drawn for pair in itertools.combinations(diagnoses, 2))
    found = Counter(key for diagnoses in drawn for key in diagnoses)
    recordings = database.count("recordings")
    for key in CRITERIA:
        share = database.count(key) / recordings
        # three standard errors, and a third for pairs that contradict each other
        assert abs(found[key] / draws - share) < 0.35 * share + 3 * math.sqrt(share / draws) + 0.002, key


def test_some_recordings_have_equivalent_codes(simulated: Path) -> None:
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
def test_invalid_arguments_are_refused(tmp_path: Path, arguments: dict) -> None:
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


def test_the_command_refuses_invalid_arguments(tmp_path: Path) -> None:
    assert run_command("--help").returncode == 0
    for wrong in (["--record", "3"], ["--recordings", "3", "--sources", "X"], ["--recordings", "0"], []):
        done = run_command(str(tmp_path / "out"), *wrong)
        assert done.returncode == 2
        assert "error" in done.stderr
    assert not (tmp_path / "out").exists()
