"""train_model.py, driver.py and get_12ECG_score.py do what they promise, each run as a process."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

import team_code
from leadwise.challenge.classes import CODES
from leadwise.challenge.outputs import read_output
from leadwise.ecg.discovery import find_records
from leadwise.ecg.preprocessing import demographics, prepare
from leadwise.ecg.recording import read_recording
from leadwise.model.ensemble import load_model
from leadwise.model.scoring import score_arrays, score_files
from leadwise.options import TrainingOptions
from leadwise.training import run as run_module
from leadwise.training.fold import FoldResult, train_fold
from tests.commands import run
from tests.conftest import header_text, v4_matrix

ROOT = Path(__file__).resolve().parents[1]
QUICK = ("--recipe", "quick", "--epochs", "1", "--jobs", "1")


def write(folder: Path, name: str, seed: int, seconds: int = 10) -> None:
    random = np.random.default_rng(seed)
    counts = (300 * random.normal(0, 1, (12, 1)) + random.normal(0, 50, (12, 500 * seconds))).astype(np.int16)
    comments = ("#Age: 50", "#Sex: Male", f"#Dx: {CODES[seed % 3]},{CODES[22]}")
    (folder / f"{name}.hea").write_text(header_text(name, counts, comments=comments))
    (folder / f"{name}.mat").write_bytes(v4_matrix(counts))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for index in range(12):
        write(folder, f"A{index:04d}", index, seconds=25 if index == 5 else 10)
    return folder


@pytest.fixture(scope="module")
def model(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "model"
    printed = run("train_model.py", data, folder, *QUICK, LEADWISE_PAGES="1").stdout
    assert "report.html: the report of this training" in printed
    assert "epochs: 1 (recipe quick has 10), from --epochs" in printed
    return folder


@pytest.fixture(scope="module")
def outputs(data: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Score the recordings, and three files that cannot be used."""
    mixed, folder = tmp_path_factory.mktemp("mixed"), tmp_path_factory.mktemp("outputs") / "new"
    for path in data.iterdir():
        (mixed / path.name).symlink_to(path)
    (mixed / "E0001.mat").write_bytes(b"no matrix")
    (mixed / "E0001.hea").write_bytes((data / "A0001.hea").read_bytes().replace(b"A0001", b"E0001"))
    (mixed / "E0002.hea").write_text("E0002 twelve leads\n")
    (mixed / "E0003.mat").write_bytes(b"")
    printed = run("driver.py", model, mixed, folder, "--precision", "fp32").stdout
    assert "15 recordings scored, 3 of them could not be used" in printed
    for name in ("E0001", "E0002", "E0003"):
        assert name in printed
    return folder


def test_a_finished_model_folder_is_complete_and_has_nothing_else(model: Path) -> None:
    assert sorted(path.name for path in model.iterdir()) == [
        "fold0.safetensors", "fold1.safetensors", "model.json", "model_card.md", "report.html",
        "seen.txt", "validation.safetensors",
    ]  # fmt: skip
    metadata = json.loads((model / "model.json").read_text())
    assert metadata["recipe"]["training"]["epochs"] == 1
    training = metadata["training"]
    assert training["recordings"] == 12 and training["recordings_per_source"] == {"A": 12}
    assert training["recordings_per_class"][CODES[22]] == 12
    assert {"versions", "seconds", "device", "threads", "left_out", "repairs"} <= set(training)
    assert training["seconds"] > 0
    for fold in metadata["folds"]:
        assert set(fold["validation_scores"]) == {"fixed_threshold", "common_threshold", "class_thresholds"}
        assert len(fold["thresholds"]) == 24 and fold["best_epoch"] == 1
        counts = fold["validation_counts"]
        assert [tp + fn for tp, fn in zip(counts["tp"], counts["fn"], strict=True)][22] == fold["validation_recordings"]
    assert metadata["prior"]["scores"] == [4 / 12] * 3 + [0.0] * 19 + [1.0, 0.0]


def test_each_fold_has_its_own_weights(model: Path) -> None:
    states = [load_file(model / f"fold{fold}.safetensors") for fold in (0, 1)]
    assert not all((states[0][name] == states[1][name]).all() for name in states[0])


def test_a_finished_model_is_not_trained_again(data: Path, model: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in model.iterdir()}
    assert "nothing to do" in run("train_model.py", f"{data}/", f"{model}/", *QUICK).stdout
    assert {path: path.stat().st_mtime_ns for path in model.iterdir()} == before


def test_the_same_command_gives_the_same_bytes(data: Path, model: Path, tmp_path: Path) -> None:
    variables = {"LEADWISE_RECIPE": "quick", "LEADWISE_EPOCHS": "1", "LEADWISE_JOBS": "2"}
    run("train_model.py", data, tmp_path / "again", **variables)
    for fold in (0, 1):
        name = f"fold{fold}.safetensors"
        assert (tmp_path / "again" / name).read_bytes() == (model / name).read_bytes()


def test_a_run_interrupted_between_folds_leaves_a_model_and_is_resumed(
    data: Path, model: Path, outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop_at_the_second_fold(*arguments: object) -> FoldResult:
        if arguments[0].data.number == 1:
            raise KeyboardInterrupt
        return train_fold(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(run_module, "train_fold", stop_at_the_second_fold)
    options = TrainingOptions(recipe="quick", epochs=1, jobs=1, pages=False)
    with pytest.raises(KeyboardInterrupt):
        team_code.training_code(str(data), str(tmp_path), options)
    assert len(load_model(tmp_path).networks) == 1
    assert (tmp_path / "checkpoint").is_dir()
    monkeypatch.undo()
    run("train_model.py", data, tmp_path, *QUICK)
    assert not (tmp_path / "checkpoint").exists()
    for fold in (0, 1):
        name = f"fold{fold}.safetensors"
        assert (tmp_path / name).read_bytes() == (model / name).read_bytes()


def test_networks_of_an_earlier_model_are_removed(data: Path, model: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(model, tmp_path / "model")
    (copy / "fold7.safetensors").write_bytes(b"of an ensemble of eight")
    run("train_model.py", data, copy, *QUICK, "--seed", "5")
    assert sorted(path.name for path in copy.iterdir()) == [
        "fold0.safetensors", "fold1.safetensors", "model.json", "seen.txt", "validation.safetensors",
    ]  # fmt: skip


def test_another_recipe_number_trains_anew_and_says_why(data: Path, model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "model"
    (copy / "checkpoint").mkdir(parents=True)
    (copy / "checkpoint" / "run.json").write_text('{"recipe": {}, "data": "other"}')
    (copy / "checkpoint" / "fold0.safetensors").write_bytes(b"of another run")
    assert (
        "starting anew: the recipe and the data and the version and the init changed"
        in run("train_model.py", data, copy, *QUICK).stdout
    )


def test_every_recording_has_an_output(model: Path, outputs: Path) -> None:
    names = [f"A{index:04d}" for index in range(12)] + ["E0001", "E0002", "E0003"]
    assert sorted(path.name for path in outputs.iterdir()) == [f"{name}.csv" for name in names]
    metadata = json.loads((model / "model.json").read_text())
    for name in names:
        assert (outputs / f"{name}.csv").read_text().startswith(f"#{name}\n")
        output = read_output(outputs / f"{name}.csv")
        assert output.codes == CODES
        if name.startswith("E"):
            assert list(output.scores) == pytest.approx(metadata["prior"]["scores"])
            assert [int(label) for label in output.labels] == metadata["prior"]["labels"]


def test_batches_change_no_score(data: Path, model: Path, outputs: Path) -> None:
    loaded = load_model(model)
    for record in find_records(data):
        recording = read_recording(record)
        header = record.with_suffix(".hea").read_text()
        alone = score_arrays(loaded, header, recording.counts)
        output = read_output(outputs / f"{record.name}.csv")
        np.testing.assert_allclose(output.scores, alone.scores, atol=1e-5)
        assert list(output.labels) == alone.labels.tolist()
    batches = [list(score_files(loaded, find_records(data), batch)) for batch in (1, 5, 100)]
    for one, five, all_at_once in zip(*batches, strict=True):
        assert one.name == five.name == all_at_once.name
        np.testing.assert_allclose(five.scores, one.scores, atol=1e-5)
        np.testing.assert_allclose(all_at_once.scores, one.scores, atol=1e-5)


def test_reduced_precision_changes_scores_little(data: Path, model: Path, outputs: Path, tmp_path: Path) -> None:
    run("driver.py", model, data, tmp_path, "--precision", "bf16")
    loaded = load_model(model)
    for path in tmp_path.iterdir():
        reduced, full = read_output(path), read_output(outputs / path.name)
        np.testing.assert_allclose(reduced.scores, full.scores, atol=0.02)
        recording = read_recording(data / path.stem)
        signal = prepare(recording, loaded.recipe.signal).values
        probabilities = loaded.probabilities([signal], demographics(recording.header)[None])[:, 0]  # (networks, 24)
        for k in np.flatnonzero(np.array(reduced.labels) != np.array(full.labels)):
            margins = [probabilities[:, k] - loaded.thresholds[:, k], probabilities[:, k] - probabilities.max(1)]
            assert np.abs(margins).min() < 0.02


def test_diagnoses_are_printed_by_name_with_their_threshold(data: Path, model: Path) -> None:
    printed = run("get_12ECG_score.py", model, data / "A0001.hea", data / "A0002").stdout
    for name in ("A0001.hea", "A0002"):
        assert str(data / name) in printed
    rows = [line for line in printed.splitlines() if line.rstrip().endswith(")")]
    assert len(rows) == 48
    marks = [row[:10].strip() for row in rows[:24]]
    assert marks == sorted(marks, key=("likely", "possible", "").index) and any(marks)
    probabilities = [float(row[10:].split()[0]) for row, mark in zip(rows, marks, strict=False) if not mark]
    assert probabilities == sorted(probabilities, reverse=True)
    assert "1st degree av block (IAVB, 270492004)" in printed
    folds = json.loads((model / "model.json").read_text())["folds"]
    k = 22  # in every recording
    tp, fp, fn = (sum(fold["validation_counts"][name][k] for fold in folds) for name in ("tp", "fp", "fn"))
    row = next(row for row in rows if CODES[k] in row)
    assert f"{tp / (tp + fn):.2f}" in row and f"{tp / (tp + fp):.2f}" in row
    assert "sensitivity and PPV: of the class on the 12 validation recordings" in printed


def test_the_reason_is_printed_for_a_recording_that_cannot_be_used(data: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.hea").write_text("nonsense\n")
    result = run("get_12ECG_score.py", model, tmp_path / "bad.hea", data / "A0001", status=1)
    assert "cannot be used" in result.stdout and "A0001" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["train_model.py", "nowhere", "{tmp}/model"], 1, "nowhere is not a folder"),
        (["train_model.py", "{model}", "{tmp}/model"], 1, "ends in .hea (not read: 3 files .safetensors"),
        (["train_model.py", "{data}", "{tmp}/model", "--recipe", "magic"], 2, "'magic' is not one of"),
        (["train_model.py", "{data}"], 2, "MODEL"),
        (
            ["train_model.py", "{data}", "{tmp}/model", "--folds", "7", "--recipe", "quick"],
            1,
            "7 folds need at least 14",
        ),
        (
            ["train_model.py", "{unscored}", "{tmp}/model", *QUICK],
            1,
            "can be used: 2 without a scored diagnosis (headers need #Dx with SNOMED CT codes), 1 not usable (the",
        ),
        (["driver.py", "{tmp}", "{data}", "{tmp}/out"], 1, "model.json: No such file"),
        (["driver.py", "{model}", "nowhere", "{tmp}/out"], 1, "nowhere is not a folder"),
        (["driver.py", "{model}", "{model}", "{tmp}/out"], 1, "no recordings: no file in it ends in .hea or .mat (not"),
        (["driver.py", "{model}", "{data}", "{tmp}/out", "--batchsize", "3"], 2, "did you mean --batch-size"),
        (["get_12ECG_score.py", "{tmp}", "{data}/A0001"], 1, "model.json: No such file"),
    ],
)
def test_a_failure_is_explained_in_one_line(
    arguments: list[str], status: int, message: str, data: Path, model: Path, tmp_path: Path
) -> None:
    unscored = tmp_path / "more" / "unscored"
    unscored.mkdir(parents=True)
    for name in ("A0001", "A0002"):
        text = (data / f"{name}.hea").read_text()
        (unscored / f"{name}.hea").write_text("".join(line for line in text.splitlines(True) if "Dx" not in line))
        shutil.copy(data / f"{name}.mat", unscored)
    (unscored / "A0003.hea").touch()
    places = {"data": data, "model": model, "tmp": tmp_path, "unscored": unscored}
    result = run(*[argument.format(**places) for argument in arguments], status=status)
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr


def test_a_folder_of_linked_sites_and_other_formats_is_scored_and_evaluated(
    data: Path, model: Path, tmp_path: Path
) -> None:
    (tmp_path / "all" / "g1").mkdir(parents=True)
    (tmp_path / "all" / "site1").symlink_to(data)
    (tmp_path / "all" / "g1" / "loop").symlink_to("..")
    write(tmp_path / "all" / "g1", "E0001", 20)
    for name in ("a.xml", "b.xml", "c.pdf"):
        (tmp_path / "all" / "g1" / name).touch()
    printed = run("driver.py", model, tmp_path / "all", tmp_path / "out", "--quality").stdout
    assert "not read: 2 files .xml (g1/a.xml, ...), 1 file .pdf (g1/c.pdf)" in printed
    assert "13 recordings scored, 0 of them could not be used" in printed and "  quality: 13, " in printed
    assert len(list((tmp_path / "out").iterdir())) == 13
    assert run("evaluate_12ECG_score.py", tmp_path / "all", tmp_path / "out").stdout.startswith("AUROC,")
    printed = run("driver.py", model, tmp_path / "all", tmp_path / "again", LEADWISE_QUALITY="0").stdout
    assert "quality" not in printed
    for path in (tmp_path / "out").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_recordings_of_one_name_in_two_folders_are_refused(tmp_path: Path) -> None:
    for folder in ("g1", "g2"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder, "A0001", 1)
    with pytest.raises(ValueError, match="two recordings are named A0001"):
        find_records(tmp_path)


@pytest.mark.parametrize("command", ["train_model.py", "driver.py", "get_12ECG_score.py"])
def test_help_names_flags_and_variables(command: str) -> None:
    printed = run(command, "--help").stdout
    assert "--threads" in printed and "LEADWISE_THREADS" in printed
