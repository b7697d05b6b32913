"""A training starts from the networks of a model folder, and never validates with recordings that these have seen."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from leadwise.model.ensemble import load_model
from leadwise.model.folder import SEEN, ModelError, read_metadata, save_seen
from leadwise.model.initial_weights import read_initial_weights
from leadwise.network.devices import CPU
from leadwise.options import TrainingOptions
from leadwise.recipes import PAPER, QUICK
from leadwise.simulate.folder import write_folder
from leadwise.training.fold_state import FoldState
from team_code import training_code
from tests.model.models import SIMULATION, TINY, write_model, write_model_with_simulation_network

OPTIONS = {"recipe": "quick", "epochs": 1, "jobs": 1, "threads": 1}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Provide a folder of recordings, a larger folder that contains them, and a model of the first."""
    root = tmp_path_factory.mktemp("init")
    write_folder(root / "all", 40, seed=5)
    (root / "first").mkdir()
    for header in sorted((root / "all").glob("*.hea"))[:20]:
        for suffix in (".hea", ".mat"):
            shutil.copy(header.with_suffix(suffix), root / "first")
    training_code(str(root / "first"), str(root / "model"), TrainingOptions(**OPTIONS))
    return root / "first", root / "all", root / "model"


def test_a_model_lists_the_recordings_that_its_networks_have_seen(folders: tuple[Path, Path, Path]) -> None:
    first, _, model = folders
    assert (model / SEEN).read_text().split() == sorted(path.stem for path in first.glob("*.hea"))


def test_a_network_starts_from_the_weights_of_the_model(folders: tuple[Path, Path, Path]) -> None:
    initial_weights = read_initial_weights(folders[2], QUICK)
    for fold in range(3):
        run = FoldState.begin(QUICK, 1, CPU, initial_weights.state(fold))
        expected = load_model(folders[2]).networks[fold % 2].state_dict()
        assert all(torch.equal(value, expected[name]) for name, value in run.networks.network.state_dict().items())


def test_recordings_that_were_seen_never_validate_and_are_listed_again(
    folders: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    _, everything, model = folders
    training_code(str(everything), str(tmp_path / "model"), TrainingOptions(**OPTIONS, init=model))
    metadata = read_metadata(tmp_path / "model")
    assert 0 < sum(fold["validation_recordings"] for fold in metadata["folds"]) <= 20
    names = sorted(path.stem for path in everything.glob("*.hea"))
    assert (tmp_path / "model" / SEEN).read_text().split() == names
    # the same training again is finished; from other initial weights it is another model
    before = (tmp_path / "model" / "model.json").stat().st_mtime_ns
    training_code(str(everything), str(tmp_path / "model"), TrainingOptions(**OPTIONS, init=model))
    assert (tmp_path / "model" / "model.json").stat().st_mtime_ns == before
    training_code(str(everything), str(tmp_path / "model"), TrainingOptions(**OPTIONS))
    assert sum(fold["validation_recordings"] for fold in read_metadata(tmp_path / "model")["folds"]) == 40


def test_a_training_needs_recordings_that_were_not_seen(folders: tuple[Path, Path, Path], tmp_path: Path) -> None:
    first, _, model = folders
    with pytest.raises(ValueError, match="have seen all of its validation recordings"):
        training_code(str(first), str(tmp_path / "model"), TrainingOptions(**OPTIONS, init=model))


def test_a_model_of_another_shape_or_without_a_list_of_recordings_is_refused(
    folders: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="other signals or networks than paper"):
        read_initial_weights(folders[2], PAPER)
    shutil.copytree(folders[2], tmp_path / "model")
    (tmp_path / "model" / SEEN).unlink()
    with pytest.raises(ModelError, match=r"seen\.txt: No such file"):
        read_initial_weights(tmp_path / "model", QUICK)


def test_initial_weights_need_the_same_signals_and_networks(tmp_path: Path) -> None:
    folder = tmp_path
    write_model(folder)
    save_seen(folder, ["E00002", "E00001", "E00002"])
    initial_weights = read_initial_weights(folder, TINY)
    assert initial_weights.seen == {"E00001", "E00002"} and (folder / SEEN).read_text() == "E00001\nE00002\n"
    assert initial_weights.state(4)["classifier.bias"].equal(
        load_model(folder).networks[1].state_dict()["classifier.bias"]
    )
    other_signal = replace(TINY, name="other", signal=replace(TINY.signal, unit="mV"))
    other_network = replace(TINY, name="other", network=replace(TINY.network, dropout=0.1))
    for other in (other_signal, other_network):
        with pytest.raises(ModelError, match="recipe tiny has other signals or networks than other"):
            read_initial_weights(folder, other)
    (folder / SEEN).unlink()
    with pytest.raises(ModelError, match=r"seen\.txt: No such file"):
        read_initial_weights(folder, TINY)


def test_initial_weights_include_the_simulation_only_network(tmp_path: Path) -> None:
    networks = write_model_with_simulation_network(tmp_path)
    save_seen(tmp_path, ["E00001"])
    initial_weights = read_initial_weights(tmp_path, SIMULATION)
    assert len(initial_weights.states) == 1 and initial_weights.simulation_network is not None
    state, metadata = initial_weights.simulation_network
    assert all(torch.equal(value, state[name]) for name, value in networks[1].state_dict().items())
    assert metadata["target_prevalence"] == [0.2] * 24 and initial_weights.checksum.count(" ") == 1
