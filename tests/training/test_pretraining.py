"""Networks pretrained on simulated ECGs."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load

import team_code
from leadwise.model.ensemble import load_model
from leadwise.model.folder import SIMULATION_NETWORK
from leadwise.network.devices import CPU
from leadwise.options import TrainingOptions
from leadwise.recipes import QUICK, RECIPES, DecisionRecipe, Recipe
from leadwise.simulate import write_folder
from leadwise.training import epoch, pretraining
from leadwise.training import run as run_module
from leadwise.training.checkpoint import load_checkpoint
from leadwise.training.fold_state import FoldState
from leadwise.training.pretraining import pretrain, simulated_dataset
from leadwise.training.time_plan import TimePlan
from tests.soak import kill

SMALL = dataclasses.replace(
    QUICK,
    name="small",
    training=dataclasses.replace(QUICK.training, epochs=1, simulated=26, simulated_epochs=2, batch_size=8),
)


def pretrained(folder: Path, recipe: Recipe = SMALL, limit: float = float("inf")) -> Any:
    folder.mkdir(exist_ok=True)
    return pretrain(recipe, folder / "fold-simulated.1", folder, CPU, 1, limit)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Train recipe `small` with training_code; return the contents of the model folder, without times."""
    monkeypatch.setitem(RECIPES, "small", SMALL)
    write_folder(tmp_path / "data", 24, seed=5, longest=10)

    def run(model: Path, **options: Any) -> dict[str, Any]:
        requested = TrainingOptions(recipe="small", precision="fp32", jobs=1, threads=1, pages=False, **options)
        team_code.training_code(str(tmp_path / "data"), str(model), requested)
        return kill.contents(model)

    return run


def test_the_same_recipe_gives_the_same_weights_and_keeps_them(tmp_path: Path) -> None:
    state, metadata = pretrained(tmp_path / "one")
    assert (metadata["recordings"], metadata["epochs"], len(metadata["target_prevalence"])) == (26, 2, 24)
    assert max(metadata["target_prevalence"]) < 1
    again, _ = pretrained(tmp_path / "other")
    fresh = FoldState.begin(SMALL, SMALL.training.seed, CPU).networks.network.state_dict()
    for name, value in state.items():
        assert torch.equal(value, again[name])
        assert not value.is_floating_point() or not torch.equal(value, fresh[name]) or "bias" in name
    # the finished network is not trained again, and the simulated recordings are removed
    assert sorted(path.name for path in (tmp_path / "one").iterdir() if path.is_dir()) == []
    (tmp_path / "one" / "fold-simulated.1").unlink()
    assert all(torch.equal(value, state[name]) for name, value in pretrained(tmp_path / "one")[0].items())
    assert not (tmp_path / "one" / "fold-simulated.1").exists()


def test_electrodes_are_not_swapped(tmp_path: Path) -> None:
    swapping = dataclasses.replace(SMALL, augmentation=dataclasses.replace(SMALL.augmentation, swaps=1.0))
    expected, _ = pretrained(tmp_path / "without")
    state, _ = pretrained(tmp_path / "with", swapping)
    assert all(torch.equal(value, expected[name]) for name, value in state.items())


def test_recordings_are_the_same_with_any_number_of_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretraining, "CHUNK", 10)
    one, two = (simulated_dataset(SMALL, tmp_path / str(jobs), jobs, TimePlan(1, 1)) for jobs in (1, 2))
    assert one is not None and two is not None and len(one) == len(two) == 26
    assert np.array_equal(one.samples, two.samples) and np.array_equal(one.labels, two.labels)
    assert (
        len({signal.tobytes() for signal in np.split(one.samples, one.starts[1:])}) == 26
    )  # each chunk has its own seed


def test_all_networks_start_from_the_pretrained_weights(
    runs: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = []
    train_fold = run_module.train_fold

    def record(*arguments: Any) -> Any:
        starts.append(arguments[0].initial_weights)
        return train_fold(*arguments)

    monkeypatch.setattr(run_module, "train_fold", record)
    metadata = runs(tmp_path / "model")["model.json"]["training"]
    state, expected = pretrained(tmp_path / "alone")
    assert len(starts) == 2 and all(torch.equal(value, start[key]) for start in starts for key, value in state.items())
    assert metadata["simulated"] == {"recordings": 26, "epochs": 2}
    assert metadata["simulated"] == {key: expected[key] for key in metadata["simulated"]}
    assert metadata["recordings"] == 24 and metadata["left_out"] == {}
    assert not (tmp_path / "model" / "checkpoint").exists()


def test_the_simulation_network_is_kept_and_passed_on(
    runs: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_network = dataclasses.replace(
        SMALL, decision=DecisionRecipe(method="reward", prevalence_shift=1.0, simulation_network=True)
    )
    monkeypatch.setitem(RECIPES, "small", with_network)
    found = runs(tmp_path / "model")
    state, expected = pretrained(tmp_path / "alone")
    kept, sources = load(found[SIMULATION_NETWORK]), len(found["model.json"]["training"]["recordings_per_source"])
    assert all(torch.equal(value, kept[name]) for name, value in state.items())
    assert found["model.json"]["simulation_network"]["target_prevalence"] == expected["target_prevalence"]
    assert found["model.json"]["simulation_network"]["weight"] == 1 / (1 + sources) and sources > 1
    model = load_model(tmp_path / "model")
    assert len(model.networks) == 3 and model.rule.thresholds.shape == (2, 24)
    assert runs(tmp_path / "model") == found  # finished
    write_folder(tmp_path / "data", 30, seed=6, longest=10)  # some of them unseen by the first model
    further = runs(tmp_path / "further", init=tmp_path / "model")
    assert further[SIMULATION_NETWORK] == found[SIMULATION_NETWORK]
    assert further["fold0.safetensors"] != found["fold0.safetensors"]
    (tmp_path / "model" / SIMULATION_NETWORK).unlink()
    write_folder(tmp_path / "data", 24, seed=5, longest=10)
    assert SIMULATION_NETWORK in runs(tmp_path / "model")  # a model that lacks a network is not finished
    plain = runs(tmp_path / "model", simulated=0, fresh=True)
    assert SIMULATION_NETWORK not in plain and plain["model.json"]["simulation_network"] is None


def test_none_are_simulated_without_need(
    runs: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs(tmp_path / "model")
    monkeypatch.setattr(run_module, "pretrain", None)  # a call would fail
    assert runs(tmp_path / "plain", simulated=0)["model.json"]["training"]["simulated"] is None
    write_folder(tmp_path / "data", 30, seed=6, longest=10)  # some of them unseen by the first model
    metadata = runs(tmp_path / "further", init=tmp_path / "model")["model.json"]["training"]
    assert metadata["simulated"] is None and metadata["init"]


def test_missing_simulated_ecgs_are_recorded(
    runs: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert runs(tmp_path / "uninterrupted")["model.json"]["training"]["shortened"] == ""
    state, metadata = pretrained(tmp_path / "alone")
    monkeypatch.setattr(run_module, "pretrain", lambda *_: (state, metadata | {"recordings": 20, "epochs": 1}))
    found = runs(tmp_path / "model")["model.json"]["training"]["shortened"]
    assert found == "20 of 26 simulated ECGs, 1 of 2 epochs of them"
    monkeypatch.setattr(run_module, "pretrain", lambda *_: None)
    found = runs(tmp_path / "model", fresh=True)["model.json"]["training"]["shortened"]
    assert found == "0 of 26 simulated ECGs, 0 of 2 epochs of them"
    assert runs(tmp_path / "plain", simulated=0)["model.json"]["training"]["shortened"] == ""


def test_without_time_the_initial_weights_are_random(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert pretrained(tmp_path, limit=1e-3) is None
    assert "no time for simulated ECGs" in caplog.text


@pytest.mark.parametrize(("module", "name", "call"), [(pretraining, "prepare_dataset", 1), (epoch, "predict", 2)])
def test_sigterm_exits_with_143_and_the_command_resumes(
    runs: Callable[..., dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    name: str,
    call: int,
) -> None:
    expected, function, calls = runs(tmp_path / "uninterrupted"), getattr(module, name), []

    def terminated(*arguments: Any) -> Any:
        result = function(*arguments)
        calls.append(name)
        if len(calls) == call:
            signal.raise_signal(signal.SIGTERM)
        return result

    with monkeypatch.context() as patch, pytest.raises(SystemExit) as stopped:
        patch.setattr(module, name, terminated)
        runs(tmp_path / "model")
    assert stopped.value.code == 143 and not (tmp_path / "model" / "model.json").exists()
    checkpoint = next((tmp_path / "model" / "checkpoint").glob("fold-simulated.????????????"), None)
    assert (checkpoint is not None) == (name == "predict")
    assert checkpoint is None or load_checkpoint(checkpoint) is not None
    assert runs(tmp_path / "model") == expected
