"""The study of recipes: its splits, a run of it in small, and its statistics against plain ones."""

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

from leadwise.recipes import ROBUST
from studies.judge import calibration_error
from studies.stress import CHANGES
from studies.study import LADDER, VARIANTS, WITHOUT, masks

ROOT = Path(__file__).resolve().parents[2]


def index(count: int) -> dict[str, dict[str, str]]:
    """Recordings whose patients come in twos, of folds 1 to 8, with devices of three families and without."""
    devices = ("CS-12   E", "CS100    3", "AT-6 C 5.5", "")
    return {
        f"HR{i:05d}": {"fold": str(i // 2 % 8 + 1), "patient": str(i // 2), "device": devices[i % 7 % 4]}
        for i in range(count)
    }


SPLITS = ["home", "third", "crossed:1", "crossed:5", "device:CS-12", "device:CS100", "device:AT", "adapt:AT:20"]


@pytest.mark.parametrize("split", SPLITS)
def test_no_patient_is_on_two_sides(split: str) -> None:
    rows = index(400)
    parts = masks(split, list(rows), rows)
    patients = {
        name: {row["patient"] for row, on in zip(rows.values(), part, strict=True) if on}
        for name, part in parts.items()
    }
    assert all(patients.values())
    assert not patients["train"] & patients["test"] and not patients["choose"] & patients["test"]
    assert not patients["train"] & patients["choose"]


def test_a_device_split_tests_on_all_of_its_family_and_chooses_on_known_others() -> None:
    rows = index(400)
    parts = masks("device:AT", list(rows), rows)
    devices = np.array([row["device"] for row in rows.values()])
    assert (parts["test"] == np.char.startswith(devices, "AT")).all()
    assert (devices[parts["choose"]] != "").all()


def test_a_third_of_the_training_recordings_is_spread_over_all_of_them() -> None:
    rows = index(400)
    home, third = (masks(split, list(rows), rows) for split in ("home", "third"))
    assert third["train"].sum() == math.ceil(home["train"].sum() / 3) and not (third["train"] & ~home["train"]).any()
    assert np.diff(np.cumsum(home["train"])[third["train"]]).max() <= 4
    assert (third["test"] == home["test"]).all() and (third["choose"] == home["choose"]).all()


def test_so_many_recordings_of_a_family() -> None:
    rows = index(400)
    parts = masks("adapt:AT:20", list(rows), rows)
    devices = np.array([row["device"] for row in rows.values()])
    assert parts["train"].sum() == 20
    assert all(np.char.startswith(devices[part], "AT").all() for part in parts.values())
    with pytest.raises(ValueError, match="1000 recordings are asked for"):
        masks("adapt:AT:1000", list(rows), rows)


@pytest.mark.parametrize("split", ["away", "adapt:AT", "adapt:AT:0", "crossed:9", "device:XL"])
def test_an_unknown_split_is_named(split: str) -> None:
    with pytest.raises(ValueError, match=split):
        masks(split, ["HR00000"], index(1))


def test_the_ladder_ends_one_step_below_the_recipe_that_it_leads_to() -> None:
    top = list(LADDER.values())[-1]
    assert all(getattr(top, part) == getattr(ROBUST, part) for part in ("signal", "network", "augmentation"))
    assert dataclasses.replace(top.decision, simulation_network=True) == ROBUST.decision  # the last step
    amounts = {name: getattr(ROBUST.training, name) for name in ("folds", "networks", "epochs")}
    assert dataclasses.replace(top.training, **amounts) == ROBUST.training
    assert next(iter(VARIANTS)) == "paper" and VARIANTS["robust"] == ROBUST


def test_what_is_left_out_is_all_that_differs() -> None:
    nothing = dataclasses.replace(
        ROBUST.augmentation, filters=0, noise=0, gain=0, lead_loss=0, hidden_demographics=0, mixup=0
    )
    assert dataclasses.replace(WITHOUT["robust-both"], augmentation=ROBUST.augmentation) == ROBUST
    assert WITHOUT["robust-both"].augmentation == nothing
    assert WITHOUT["robust-machine"].augmentation == dataclasses.replace(nothing, mixup=ROBUST.augmentation.mixup)
    assert WITHOUT["robust-mixup"].augmentation == dataclasses.replace(ROBUST.augmentation, mixup=0)
    assert dataclasses.replace(WITHOUT["robust-schedule"], training=ROBUST.training) == ROBUST
    assert WITHOUT["robust-schedule"].training.schedule == "steps" and WITHOUT["robust-schedule"].training.proxy_labels
    band = {"signal": dataclasses.replace(WITHOUT["robust-band"].signal, band=ROBUST.signal.band)}
    assert dataclasses.replace(WITHOUT["robust-band"], **band) == ROBUST != WITHOUT["robust-band"]


def test_calibration_error_is_nought_for_what_is_right_on_average() -> None:
    random = np.random.default_rng(0)
    scores = random.random((20_000, 24))
    labels = random.random(scores.shape) < scores
    assert calibration_error(labels, scores) < 0.02
    assert calibration_error(labels, np.zeros_like(scores)) == pytest.approx(labels.mean(), abs=1e-9)


def test_the_command_from_nothing_to_a_table(tmp_path: Path) -> None:
    program = [sys.executable, "-m"]
    made = [*program, "leadwise.simulate", str(tmp_path / "data"), "--recordings", "96", "--seed", "3"]
    subprocess.run(made, cwd=ROOT, check=True, capture_output=True)
    names = sorted(path.stem for path in (tmp_path / "data").glob("*.hea"))
    with (tmp_path / "index.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["record", "fold", "patient", "device"])
        rows.writerows([name, i % 8 + 1, i, ("CS-12", "AT-6")[i % 2]] for i, name in enumerate(names))
    study = [*program, "studies.study"]
    folders = [str(tmp_path / name) for name in ("results", "data", "index.csv")]
    given = [*folders, "--recipes", "quick", "--epochs", "1"]
    for _ in range(2):  # the second time there is nothing left to do
        result = subprocess.run([*study, "train", *given], cwd=ROOT, check=True, capture_output=True, text=True)
    assert "epoch" not in result.stdout
    shown = subprocess.run([*study, "table", given[0]], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert shown.splitlines()[-1].startswith("quick | home | 2020 | 12 | ")
    for more in (
        ("quick", "device:AT,crossed:1,crossed:2"),
        ("quick+init", "adapt:AT:12"),
    ):  # the second from the network of the first
        asked = [*folders, "--recipes", more[0], "--splits", more[1], "--epochs", "1"]
        subprocess.run([*study, "train", *asked], cwd=ROOT, check=True, capture_output=True)
    against = [*study, "table", given[0], "--against", "quick"]
    shown = subprocess.run(against, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    counts = {line.split(" | ")[1]: line.split(" | ")[3] for line in shown.splitlines()[1:]}
    assert counts == {"home": "12", "device-AT": "48", "adapt-AT-12": "12", "crossed": "24"}  # both folds in one line
    assert "+0.000" in shown  # quick against itself
    stressed = [*program, "studies.stress", *folders, "--recipes", "quick", "--picture", str(tmp_path / "stress.png")]
    shown = subprocess.run(stressed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert [line.split(" | ")[0] for line in shown.splitlines()[-len(CHANGES) :]] == list(CHANGES)
    assert shown.splitlines()[-len(CHANGES)].endswith("(+0.000)")  # as it is
    with Image.open(tmp_path / "stress.png") as image:
        assert image.width > 500
    greedy = [*program, "studies.greedy", str(tmp_path / "results/quick/home/2020.npz")]
    shown = subprocess.run(greedy, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert shown.splitlines()[0].startswith("random, 5 classes: as good in 200 of 200") and " of 12, " in shown
    picture = [*program, "studies.study_picture", given[0], str(tmp_path / "study.png")]
    subprocess.run(picture, cwd=ROOT, check=True, capture_output=True)
    with Image.open(tmp_path / "study.png") as image:
        assert image.width > image.height
    picture[-2] = str(tmp_path)
    assert b"has no runs" in subprocess.run(picture, cwd=ROOT, check=False, capture_output=True).stderr
