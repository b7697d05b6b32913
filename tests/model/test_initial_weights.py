"""Training that begins with the networks of a model folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from leadwise.model.ensemble import load_model
from leadwise.model.folder import SEEN, ModelError, read_metadata
from leadwise.model.initial_weights import read_initial_weights
from leadwise.network.devices import CPU
from leadwise.options import TrainingOptions
from leadwise.recipes import PAPER, QUICK
from leadwise.simulate.folder import write_folder
from leadwise.training.fold_state import FoldState
from team_code import training_code

OPTIONS = {"recipe": "quick", "epochs": 1, "jobs": 1, "threads": 1}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A first folder of recordings, a larger one that has them too, and a model of the first."""
    root = tmp_path_factory.mktemp("init")
    write_folder(root / "all", 40, seed=5)
    (root / "first").mkdir()
    for header in sorted((root / "all").glob("*.hea"))[:20]:
        for suffix in (".hea", ".mat"):
            shutil.copy(header.with_suffix(suffix), root / "first")
    training_code(str(root / "first"), str(root / "model"), TrainingOptions(**OPTIONS))
    return root / "first", root / "all", root / "model"


def test_a_model_lists_what_its_networks_have_seen(folders: tuple[Path, Path, Path]) -> None:
    first, _, model = folders
    assert (model / SEEN).read_text().split() == sorted(path.stem for path in first.glob("*.hea"))


def test_a_network_begins_with_the_weights_of_the_model(folders: tuple[Path, Path, Path]) -> None:
    initial_weights = read_initial_weights(folders[2], QUICK)
    for fold in range(3):
        run = FoldState.begin(QUICK, 1, CPU, initial_weights.state(fold))
        expected = load_model(folders[2]).networks[fold % 2].state_dict()
        assert all(torch.equal(value, expected[name]) for name, value in run.networks.network.state_dict().items())


def test_what_was_seen_never_validates_and_is_listed_again(folders: tuple[Path, Path, Path], tmp_path: Path) -> None:
    _, everything, model = folders
    training_code(str(everything), str(tmp_path / "model"), TrainingOptions(**OPTIONS, init=model))
    metadata = read_metadata(tmp_path / "model")
    assert 0 < sum(fold["validation_recordings"] for fold in metadata["folds"]) <= 20
    names = sorted(path.stem for path in everything.glob("*.hea"))
    assert (tmp_path / "model" / SEEN).read_text().split() == names
    # the same once more is finished; begun otherwise it is another model
    before = (tmp_path / "model" / "model.json").stat().st_mtime_ns
    training_code(str(everything), str(tmp_path / "model"), TrainingOptions(**OPTIONS, init=model))
    assert (tmp_path / "model" / "model.json").stat().st_mtime_ns == before
    training_code(str(everything), str(tmp_path / "model"), TrainingOptions(**OPTIONS))
    assert sum(fold["validation_recordings"] for fold in read_metadata(tmp_path / "model")["folds"]) == 40


def test_where_everything_was_seen_nothing_can_validate(folders: tuple[Path, Path, Path], tmp_path: Path) -> None:
    first, _, model = folders
    with pytest.raises(ValueError, match="have seen every recording"):
        training_code(str(first), str(tmp_path / "model"), TrainingOptions(**OPTIONS, init=model))


def test_a_model_of_another_shape_or_without_its_list_is_refused(
    folders: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="other signals or networks than paper"):
        read_initial_weights(folders[2], PAPER)
    shutil.copytree(folders[2], tmp_path / "model")
    (tmp_path / "model" / SEEN).unlink()
    with pytest.raises(ModelError, match=r"seen\.txt: No such file"):
        read_initial_weights(tmp_path / "model", QUICK)
