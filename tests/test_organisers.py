"""The organisers' scripts of 2020 and 2021 run with the repository as it is.

Substitutes for them (tests/organisers/) replace our commands in a copy of the top level, as on the organisers' side.
Each runs as a process, with LEADWISE_ variables as the only options.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from leadwise.challenge.classes import CODES
from tests.conftest import LEADS, header_text, v4_matrix

ROOT = Path(__file__).resolve().parents[1]
LEAD_SETS = (LEADS, LEADS[:6], ("I", "II", "III", "V2"), ("I", "II", "V2"), ("I", "II"))
QUICK = {"LEADWISE_RECIPE": "quick", "LEADWISE_EPOCHS": "1", "LEADWISE_FOLDS": "2"}
QUICK |= {"LEADWISE_JOBS": "1", "LEADWISE_THREADS": "1"}  # too little work for several processes
QUICK |= {"LEADWISE_PAGES": "0"}  # the report takes longer than such a training

# ---------------------------------------------------------------------------------------------------------- recordings


@dataclass(frozen=True, eq=False)
class Example:
    """A recording to write: ADC counts (leads, samples), 1000 per mV."""

    name: str
    data: NDArray[np.int16]
    sampling_frequency: int
    codes: str
    leads: tuple[str, ...] = LEADS

    def reduced(self, leads: tuple[str, ...]) -> Example:
        """Return the recording with some of its leads, as in the data of 2021."""
        return replace(self, data=self.data[[self.leads.index(lead) for lead in leads]], leads=leads)

    def write(self, folder: Path) -> None:
        """Write a header and a MATLAB v4 file."""
        comments = ("#Age: 64", "#Sex: Female", f"#Dx: {self.codes}", "#Rx: Unknown", "#Hx: Unknown", "#Sx: Unknown")
        header = header_text(self.name, self.data, self.sampling_frequency, leads=self.leads, comments=comments)
        (folder / f"{self.name}.hea").write_text(header)
        (folder / f"{self.name}.mat").write_bytes(v4_matrix(self.data))


def heartbeats(random: np.random.Generator, samples: int, sampling_frequency: int) -> NDArray[np.int16]:
    """Return twelve leads (12, samples) of narrow beats and noise."""
    beats = np.arange(samples) / sampling_frequency * random.uniform(0.8, 2.0)
    shape = np.exp(-((beats % 1 - 0.5) ** 2) / (2 * 0.02**2))
    sizes = random.normal(0, 800, (len(LEADS), 1))
    return (sizes * shape + random.normal(0, 20, (len(LEADS), samples))).astype(np.int16)


def examples(count: int, seed: int) -> Iterator[Example]:
    """Yield recordings of three sources: 10 s at 500 Hz; every fourth 25 s, longer than a window, at 1000 Hz."""
    random = np.random.default_rng(seed)
    # sinus rhythm; two classes; a code with an equivalent; scored beside unscored; unscored alone
    codes = ("426783006", "164889003,59118001", "713427006", "427084000,55827005", "55827005")
    for index in range(count):
        seconds, sampling_frequency = (25, 1000) if index % 4 == 3 else (10, 500)
        name = f"{('A', 'HR', 'E')[index % 3]}{seed:02d}{index:03d}"
        data = heartbeats(random, seconds * sampling_frequency, sampling_frequency)
        yield Example(name, data, sampling_frequency, codes[index % len(codes)])


@pytest.fixture(scope="session")
def training_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("training")
    for example in examples(16, seed=1):
        example.write(folder)
    return folder


@pytest.fixture(scope="session")
def unseen_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("test")
    for example in examples(4, seed=2):
        example.write(folder)
    (folder / "._A02000.mat").write_bytes(b"hidden")
    return folder


# ------------------------------------------------------------------------------------------------------------- scripts


def repository(folder: Path, **scripts: str) -> Path:
    """Copy the top level, and overwrite each command in `scripts` with its substitute."""
    for path in ROOT.glob("*.py"):
        shutil.copy(path, folder)
    (folder / "leadwise").symlink_to(ROOT / "leadwise")
    for command, substitute in scripts.items():
        shutil.copy(ROOT / "tests" / "organisers" / f"{substitute}.py", folder / f"{command}.py")
    return folder


@pytest.fixture(scope="session")
def repository_2020(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return repository(tmp_path_factory.mktemp("2020"), train_model="train_2020", driver="driver_2020")


@pytest.fixture(scope="session")
def repository_2021(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return repository(tmp_path_factory.mktemp("2021"), train_model="train_2021", test_model="test_2021")


def run(folder: Path, *command: str | Path, **variables: str) -> str:
    """Run a script in the repository, with the environment of a container; return its output."""
    kept = {name: os.environ[name] for name in ("PATH", "OMP_NUM_THREADS", "LD_LIBRARY_PATH") if name in os.environ}
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=folder,
        env=kept | QUICK | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def model(repository_2020: Path, training_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train with the script of 2020: absolute paths, with a trailing slash."""
    folder = tmp_path_factory.mktemp("model") / "with spaces in its name"
    run(repository_2020, "train_model.py", f"{training_data}/", f"{folder}/", LEADWISE_PAGES="1")
    return folder


@pytest.fixture(scope="session")
def outputs_of_2020(
    repository_2020: Path, model: Path, unseen_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Score with the driver of 2020: absolute paths, with a trailing slash."""
    folder = tmp_path_factory.mktemp("outputs")
    run(repository_2020, "driver.py", f"{model}/", f"{unseen_data}/", f"{folder}/")
    return folder


def outputs(folder: Path) -> dict[str, tuple[list[int], list[float]]]:
    """Return labels and scores by recording, after checking the format of each output."""
    found = {}
    for path in sorted(folder.iterdir()):
        name, classes, labels, scores = path.read_text().splitlines()
        assert path.name == f"{name.removeprefix('#')}.csv"
        assert classes.split(",") == list(CODES)
        found[path.stem] = [int(label) for label in labels.split(",")], [float(score) for score in scores.split(",")]
        assert len(found[path.stem][0]) == len(found[path.stem][1]) == len(CODES) == 24
        assert set(found[path.stem][0]) <= {0, 1} and 1 in found[path.stem][0]
        assert all(0 <= score <= 1 for score in found[path.stem][1])
    return found


# --------------------------------------------------------------------------------------------------------------- tests


def test_the_scripts_of_2020_write_an_output_for_each_recording(model: Path, outputs_of_2020: Path) -> None:
    assert sorted(path.name for path in model.iterdir()) == [
        "fold0.safetensors", "fold1.safetensors", "model.json", "model_card.md", "report.html",
        "seen.txt", "validation.safetensors",
    ]  # fmt: skip
    assert list(outputs(outputs_of_2020)) == sorted(example.name for example in examples(4, seed=2))


def test_folders_can_be_relative_and_without_a_slash(
    repository_2020: Path, model: Path, unseen_data: Path, outputs_of_2020: Path, tmp_path: Path
) -> None:
    relative = [os.path.relpath(path, repository_2020) for path in (model, unseen_data, tmp_path / "outputs")]
    run(repository_2020, "driver.py", *relative)
    assert outputs(tmp_path / "outputs") == outputs(outputs_of_2020)


def test_training_with_the_script_of_2021_gives_the_same_model(
    repository_2021: Path, training_data: Path, model: Path, tmp_path: Path
) -> None:
    relative = [os.path.relpath(path, repository_2021) + "/" for path in (training_data, tmp_path / "model")]
    run(repository_2021, "train_model.py", *relative)
    for fold in ("fold0.safetensors", "fold1.safetensors"):
        assert (tmp_path / "model" / fold).read_bytes() == (model / fold).read_bytes()


def test_the_script_of_2021_scores_every_lead_set(
    repository_2021: Path, model: Path, outputs_of_2020: Path, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    for example in examples(4, seed=2):
        for leads in LEAD_SETS:
            replace(example.reduced(leads), name=f"{example.name}-{len(leads)}").write(tmp_path / "data")
        # in any order of leads
        replace(example.reduced(LEADS[::-1]), name=f"{example.name}-turned").write(tmp_path / "data")
    printed = run(repository_2021, "test_model.py", model, tmp_path / "data", tmp_path / "outputs")
    assert f"24 recordings, {len(LEAD_SETS)} lead sets" in printed
    found = outputs(tmp_path / "outputs")
    assert len(found) == 24

    # with all leads, in any order, the predictions are those of the script of 2020
    for name, (labels, scores) in outputs(outputs_of_2020).items():
        for spelling in (f"{name}-12", f"{name}-turned"):
            assert found[spelling][0] == labels
            np.testing.assert_allclose(found[spelling][1], scores, atol=1e-6)


def test_training_again_on_the_same_recordings_changes_nothing(
    repository_2020: Path, training_data: Path, model: Path
) -> None:
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in model.iterdir()}
    run(repository_2020, "train_model.py", training_data, model)
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in model.iterdir()} == before


def test_a_misspelt_variable_stops_the_organisers_script_with_one_line(
    repository_2020: Path, training_data: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "train_model.py", str(training_data), str(tmp_path / "model")]
    environ = {"PATH": os.environ["PATH"], "LEADWISE_EPOCH": "3"}
    done = subprocess.run(command, cwd=repository_2020, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: LEADWISE_EPOCH: no such variable; did you mean LEADWISE_EPOCHS?\n"
