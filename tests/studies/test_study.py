"""The study of recipes: its splits, its variants, and a small run of every command that reads its results."""

from __future__ import annotations

import csv
import dataclasses
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leadwise.data.prepare import prepare_dataset
from leadwise.network.devices import CPU
from leadwise.network.se_resnet import SEResNet
from leadwise.recipes import QUICK, ROBUST, AugmentationRecipe
from leadwise.simulate import write_folder
from studies import study
from studies.run_metrics import FIGURES, figures_of
from studies.stress import PERTURBATIONS
from studies.study import ABLATIONS, LADDER, VARIANTS, changed, initial_weights, masks

ROOT = Path(__file__).resolve().parents[2]


def index(count: int) -> dict[str, dict[str, str]]:
    """Recordings of folds 1 to 8, two per patient, with devices of three families and without."""
    devices = ("CS-12   E", "CS100    3", "AT-6 C 5.5", "")
    return {
        f"HR{i:05d}": {"fold": str(i // 2 % 8 + 1), "patient": str(i // 2), "device": devices[i % 7 % 4]}
        for i in range(count)
    }


DEVICES = ["device:CS-12", "device:CS100", "device:AT", "adapt:AT:20"]


@pytest.mark.parametrize("split", ["in-distribution", "third", "crossed:1", "crossed:5", *DEVICES])
def test_no_patient_is_in_two_parts(split: str) -> None:
    rows = index(400)
    parts = masks(split, list(rows), rows)
    patients = {
        name: {row["patient"] for row, on in zip(rows.values(), part, strict=True) if on}
        for name, part in parts.items()
    }
    assert all(patients.values())
    assert not patients["train"] & patients["test"] and not patients["validation"] & patients["test"]
    assert not patients["train"] & patients["validation"]


def test_a_device_split_tests_on_its_whole_family_and_validates_on_other_known_devices() -> None:
    rows = index(400)
    parts = masks("device:AT", list(rows), rows)
    devices = np.array([row["device"] for row in rows.values()])
    assert (parts["test"] == np.char.startswith(devices, "AT")).all()
    assert (devices[parts["validation"]] != "").all()


def test_a_third_of_the_training_recordings_is_evenly_spaced() -> None:
    rows = index(400)
    full, third = (masks(split, list(rows), rows) for split in ("in-distribution", "third"))
    assert third["train"].sum() == math.ceil(full["train"].sum() / 3) and not (third["train"] & ~full["train"]).any()
    assert np.diff(np.cumsum(full["train"])[third["train"]]).max() <= 4
    assert (third["test"] == full["test"]).all() and (third["validation"] == full["validation"]).all()


def test_adapt_trains_on_the_requested_number_of_recordings_of_a_family() -> None:
    rows = index(400)
    parts = masks("adapt:AT:20", list(rows), rows)
    devices = np.array([row["device"] for row in rows.values()])
    assert parts["train"].sum() == 20
    assert all(np.char.startswith(devices[part], "AT").all() for part in parts.values())
    with pytest.raises(ValueError, match="1000 recordings are requested"):
        masks("adapt:AT:1000", list(rows), rows)


@pytest.mark.parametrize("split", ["external", "adapt:AT", "adapt:AT:0", "crossed:9", "device:XL"])
def test_an_unknown_split_is_named(split: str) -> None:
    with pytest.raises(ValueError, match=split):
        masks(split, ["HR00000"], index(1))


def test_the_ladder_ends_one_step_before_robust() -> None:
    top = list(LADDER.values())[-1]
    assert all(getattr(top, part) == getattr(ROBUST, part) for part in ("signal", "network", "augmentation"))
    assert dataclasses.replace(top.decision, simulation_network=True) == ROBUST.decision  # the last step
    amounts = {name: getattr(ROBUST.training, name) for name in ("folds", "networks", "epochs")}
    assert dataclasses.replace(top.training, **amounts) == ROBUST.training
    assert next(iter(VARIANTS)) == "paper" and VARIANTS["robust"] == ROBUST


def test_an_ablation_differs_from_robust_only_in_its_part() -> None:
    nothing = AugmentationRecipe()
    assert dataclasses.replace(ABLATIONS["robust-both"], augmentation=ROBUST.augmentation) == ROBUST
    assert ABLATIONS["robust-both"].augmentation == nothing
    assert ABLATIONS["robust-machine"].augmentation == dataclasses.replace(nothing, mixup=ROBUST.augmentation.mixup)
    assert ABLATIONS["robust-mixup"].augmentation == dataclasses.replace(ROBUST.augmentation, mixup=0)
    assert dataclasses.replace(ABLATIONS["robust-schedule"], training=ROBUST.training) == ROBUST
    training = ABLATIONS["robust-schedule"].training
    assert training.schedule == "steps" and training.proxy_labels
    band = {"signal": dataclasses.replace(ABLATIONS["robust-band"].signal, band=ROBUST.signal.band)}
    assert dataclasses.replace(ABLATIONS["robust-band"], **band) == ROBUST != ABLATIONS["robust-band"]


def test_a_run_with_a_simulation_network_has_its_probabilities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "data", 48, seed=3, sources=["E"], longest=10)
    recipe = changed(QUICK, training={"epochs": 1, "simulated": 24, "batch_size": 16})
    weights, metadata = SEResNet(recipe.network).state_dict(), {"target_prevalence": [0.1] * 24}
    monkeypatch.setattr(study, "pretrain", lambda *_: (weights, metadata))
    initial = initial_weights("quick", recipe, "third", 1, tmp_path, CPU)
    assert initial is not None and initial.simulation_network == (weights, metadata)
    data, place = prepare_dataset(tmp_path / "data", tmp_path, recipe.signal, 1), np.arange(48) % 3
    parts = {name: data.subset(place == k) for k, name in enumerate(("train", "validation", "test"))}
    found = study.run(recipe, parts, 1, tmp_path / "1.npz", CPU, initial)
    assert found["test_simulation"].shape == found["test"].shape == (16, 24)
    assert (found["test_simulation"] != found["test"]).any()
    assert set(FIGURES) == set(figures_of([found], "test", "reward simulation", 1.0))


def test_train_table_stress_greedy_and_picture_in_small(tmp_path: Path) -> None:
    program = [sys.executable, "-m"]
    made = [*program, "leadwise.simulate", str(tmp_path / "data"), "--recordings", "96", "--seed", "3"]
    subprocess.run(made, cwd=ROOT, check=True, capture_output=True)
    names = sorted(path.stem for path in (tmp_path / "data").glob("*.hea"))
    with (tmp_path / "index.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["record", "fold", "patient", "device"])
        rows.writerows([name, i % 8 + 1, i, ("CS-12", "AT-6")[i % 2]] for i, name in enumerate(names))
    command = [*program, "studies.study"]
    folders = [str(tmp_path / name) for name in ("results", "data", "index.csv")]
    external = ["--external", folders[1]]
    for _ in range(2):  # the second time there is nothing left to do
        arguments = [*folders, *external, "--recipes", "quick", "--epochs", "1"]
        result = subprocess.run([*command, "train", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    assert "epoch" not in result.stdout
    shown = subprocess.run([*command, "table", folders[0]], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert shown.splitlines()[-2].startswith("quick | in-distribution | 2020 | 12 | ")
    # the second starts from the network of the first
    for recipe, splits in (("quick", "device:AT,crossed:1,crossed:2"), ("quick+init", "adapt:AT:12")):
        arguments = [*folders, "--recipes", recipe, "--splits", splits, "--epochs", "1"]
        subprocess.run([*command, "train", *arguments], cwd=ROOT, check=True, capture_output=True)
    against = [*command, "table", folders[0], "--against", "quick"]
    shown = subprocess.run(against, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    counts = {line.split(" | ")[1]: line.split(" | ")[3] for line in shown.splitlines()[1:]}
    expected = {"in-distribution": "12", "external": "96", "device-AT": "48", "adapt-AT-12": "12", "crossed": "24"}
    assert counts == expected  # the two crossed folds share a line
    assert "+0.000" in shown  # quick against itself
    stressed = [*program, "studies.stress", *folders, "--recipes", "quick", "--picture", str(tmp_path / "stress.png")]
    shown = subprocess.run(stressed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert [line.split(" | ")[0] for line in shown.splitlines()[-len(PERTURBATIONS) :]] == list(PERTURBATIONS)
    assert shown.splitlines()[-len(PERTURBATIONS)].endswith("(+0.000)")  # unchanged
    with Image.open(tmp_path / "stress.png") as image:
        assert image.width > 500
    greedy = [*program, "studies.greedy", str(tmp_path / "results/quick/in-distribution/2020.npz")]
    shown = subprocess.run(greedy, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert shown.splitlines()[0].startswith("random, 5 classes: as good in 200 of 200") and " of 12, " in shown
    picture = [*program, "studies.study_picture", folders[0], str(tmp_path / "study.png")]
    subprocess.run(picture, cwd=ROOT, check=True, capture_output=True)
    with Image.open(tmp_path / "study.png") as image:
        assert image.width > image.height
    picture[-2] = str(tmp_path)
    assert b"has no runs" in subprocess.run(picture, cwd=ROOT, check=False, capture_output=True).stderr
