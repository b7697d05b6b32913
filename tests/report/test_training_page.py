"""Test the report of a training: the evaluator's figures, a complete page, a training that survives a failing report.

The pages are opened in Chromium if it is installed; LEADWISE_SCREENSHOTS names a folder for the screenshots.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import team_code
from leadwise.challenge.classes import CODES
from leadwise.challenge.metric import challenge_metric
from leadwise.challenge.outputs import write_output
from leadwise.decision.lead_sets import LEAD_SETS
from leadwise.decision.thresholds import apply_thresholds
from leadwise.ecg.lead_names import STANDARD_LEADS
from leadwise.ecg.preprocessing import demographics, prepare
from leadwise.ecg.recording import read_recording, recording_from_counts
from leadwise.model.ensemble import load_model
from leadwise.model.validation_results import FILE, load_validation
from leadwise.options import TrainingOptions
from leadwise.recipes import RECIPES, NetworkRecipe, Recipe, SignalRecipe, TrainingRecipe
from leadwise.report.card import model_card
from leadwise.report.lead_importance import (
    HIDDEN,
    MIN_RECORDINGS,
    Prepared,
    draw_sample,
    gates_by_class,
    gates_of,
    lead_importance,
    one_network,
)
from leadwise.report.training_page import read_training, training_page, write_pages
from leadwise.simulate import write_folder
from leadwise.training import run as run_module
from tests.commands import run
from tests.report.test_evaluation_page import Page, chromium

TINY = Recipe(
    "tiny",
    signal=SignalRecipe(window=1028),
    network=NetworkRecipe(stem_channels=8, block_channels=(8, 16), reduction=4),
    training=TrainingRecipe(folds=2, epochs=2, batch_size=16),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_folder(folder, 48, 3, sources=["E", "A"], class_floor=0.03)
    (folder / "E09999.hea").write_text("E09999 twelve leads\n")
    return folder


@pytest.fixture(scope="module")
def model(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a model of recipe `tiny` with its pages, trained in this process."""
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECIPES, "tiny", TINY)
        team_code.training_code(str(data), str(folder), TrainingOptions(recipe="tiny", jobs=1, threads=1))
        yield folder


@pytest.fixture(scope="module")
def page(model: Path) -> str:
    return (model / "report.html").read_text(encoding="utf-8")


def test_each_recording_was_predicted_by_the_fold_that_did_not_train_on_it(model: Path) -> None:
    validation, metadata = load_validation(model), json.loads((model / "model.json").read_text())
    assert set(validation.folds.tolist()) == {0, 1} and len(validation) == metadata["training"]["recordings"] == len(
        validation.validated
    )
    for place, fold in enumerate(metadata["folds"]):
        part = validation.part(validation.folds == place)
        assert len(part) == fold["validation_recordings"]
        answers = apply_thresholds(part.probabilities, np.array(fold["thresholds"]))
        assert challenge_metric(part.labels, answers) == pytest.approx(fold["validation_scores"]["class_thresholds"])
        assert (part.labels & answers).sum(0).tolist() == fold["validation_counts"]["tp"]


def test_validation_results_agree_with_the_headers(model: Path, data: Path) -> None:
    validation = load_validation(model)
    for place in range(0, len(validation), 7):
        header = read_recording(data / validation.names[place]).header
        assert validation.frequencies[place] == header.sampling_frequency and validation.sources[place] == header.source
        assert validation.seconds[place] == pytest.approx(header.samples / header.sampling_frequency, abs=0.01)
        assert (np.isnan(validation.ages[place]) and header.age is None) or validation.ages[place] == pytest.approx(
            header.age
        )
        assert validation.sexes[place] == {None: 0, "female": 1, "male": 2}[header.sex]


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff" * 64])
def test_damaged_validation_results_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(ValueError, match=FILE):
        load_validation(tmp_path)


def test_figures_are_those_of_the_evaluator(model: Path, data: Path, page: str, tmp_path: Path) -> None:
    validation, metadata = load_validation(model), json.loads((model / "model.json").read_text())
    for folder in ("labels", "outputs"):
        (tmp_path / folder).mkdir()
    for name, fold, scores in zip(
        validation.names, validation.folds, validation.probabilities.astype(np.float64), strict=True
    ):
        shutil.copy(data / f"{name}.hea", tmp_path / "labels")
        answers = apply_thresholds(scores[None], np.array(metadata["folds"][fold]["thresholds"]))[0]
        write_output(tmp_path / "outputs" / f"{name}.csv", name, CODES, answers.astype(int), scores)
    files = [tmp_path / "scores.csv", tmp_path / "class_scores.csv"]
    run("evaluate_12ECG_score.py", tmp_path / "labels", tmp_path / "outputs", *files)
    names, values = (line.split(",") for line in files[0].read_text().splitlines())
    tables = Page(page).tables
    assert tables["figures"][0][1:] == names
    assert [text.replace("–", "nan") for text in tables["figures"][1][1:]] == values
    auroc = files[1].read_text().splitlines()[1].split(",")[1:]
    assert sorted(row[3].replace("–", "nan") for row in tables["classes"][1:]) == sorted(auroc)
    assert tables["steps"][-1][1] == values[-1]


def test_folds_and_steps_are_those_of_model_json(model: Path, page: str) -> None:
    metadata, tables = json.loads((model / "model.json").read_text()), Page(page).tables
    for place, fold in enumerate(metadata["folds"]):
        for row, key in zip(
            tables["steps"][1:], ("fixed_threshold", "common_threshold", "class_thresholds"), strict=True
        ):
            assert row[3 + place] == f"{fold['validation_scores'][key]:.3f}"
        row = tables["folds"][1 + place]
        assert row[:3] == [
            str(place),
            str(fold["validation_recordings"]),
            f"{fold['validation_scores']['class_thresholds']:.3f}",
        ]
        assert row[-1] == f"{fold['best_epoch']} of 2"
    thresholds = np.mean([fold["thresholds"] for fold in metadata["folds"]], axis=0)
    assert [row[-1] for row in tables["classes"][1:]] == [f"{threshold:.3f}" for threshold in thresholds]


def test_the_page_lists_sources_repairs_and_reasons(model: Path, page: str) -> None:
    tables, metadata = Page(page).tables, json.loads((model / "model.json").read_text())["training"]
    rows = {row[0]: row for row in tables["sources"][1:]}
    assert {source: int(row[2]) for source, row in rows.items()} == metadata["recordings_per_source"]
    assert rows["E"][1].startswith("Georgia") and rows["A"][4] == "500"
    assert sum(int(row[1]) for row in tables["left-out"][1:]) == sum(metadata["left_out"].values()) >= 1
    for name, count in metadata["repairs"].items():
        assert [name, str(count)] in [row[:2] for row in tables["repairs"]]


def test_the_page_is_self_contained_and_each_picture_has_a_text_alternative(page: str) -> None:
    parsed = Page(page)
    assert all(address.startswith(("data:", "#")) for address in parsed.addresses)
    assert not re.search(r"@import|url\(\s*['\"]?(?!#)", page)
    assert len(page.encode()) < 5_000_000 and "default-src 'none'" in page
    assert page.count("<svg ") >= 18 and page.count("<img ") == 10
    assert len(parsed.alternatives) == page.count("<svg ") + 10 and all(len(text) > 20 for text in parsed.alternatives)
    assert len(parsed.ids) == len(set(parsed.ids))


def test_the_card_has_the_figures_and_no_gaps(model: Path, page: str) -> None:
    card = (model / "model_card.md").read_text(encoding="utf-8")
    figures = Page(page).tables["figures"][1]
    assert f"| challenge metric | {figures[-1]} (" in card and f"| AUROC, mean of classes | {figures[1]} |" in card
    assert "Not a\nmedical device" in card and "CC BY 4.0" in card and "Georgia" in card
    assert all(f"| {code} |" in card for code in CODES)
    assert "Not in the training data: " in card and not re.search(r"TODO|XXX|None\b|\{|\}|nan", card)


def test_card_and_page_have_the_scores_by_subgroup(model: Path, page: str) -> None:
    card, training = (model / "model_card.md").read_text(encoding="utf-8"), read_training(model, None)
    table = Page(page).tables["subgroups"]
    assert [row[0] for row in table if len(row) == 1] == ["sex", "age", "length", "source"]
    assert "The same for all recordings: device 500 Hz, 1 µV; sampling frequency 500 Hz." in card
    assert "The same for all recordings: device 500 Hz, 1 µV; sampling frequency 500 Hz." in page
    rows = iter(row for row in table[1:] if len(row) > 1)
    for row, shown in zip(training.subgroups.rows, rows, strict=True):
        assert shown[:2] == [row.name, str(row.recordings)]
        score = f"{row.score:.3f} ({row.interval[0]:.3f} to {row.interval[1]:.3f}) | {row.constant:.3f} |"
        assert shown[2] == (f"{row.score:.3f}" if row.scored else "too few")
        assert f"{row.name} | {row.recordings} | {score if row.scored else 'too few | – |'}" in card
    assert f"{training.scores.challenge_metric:.3f}" == table[1][2]


def test_card_and_page_name_the_pretraining_and_the_simulation_only_network(model: Path) -> None:
    training = read_training(model, None)
    training.metadata["training"]["simulated"] = {"recordings": 1234, "epochs": 6}
    training.metadata["simulation_network"] = {"file": "simulation_network.safetensors", "weight": 0.5}
    card = " ".join(model_card(training.metadata, training.outputs, training.scores, training.subgroups).split())
    assert "Its initial weights were pre-trained on 1234 simulated ECGs." in card
    assert "trained on simulated ECGs only (`simulation_network.safetensors`)." in card
    page = training_page(training, None)
    assert "pre-trained on 1234 simulated ECGs for 6 epochs" in page
    assert "weight 0.5 for out-of-distribution recordings" in page


@pytest.fixture(scope="module")
def sample(model: Path, data: Path) -> Prepared:
    validation = load_validation(model).part(np.arange(30))
    recordings = [read_recording(data / name) for name in validation.names]
    signals = [prepare(recording, TINY.signal).values for recording in recordings]
    auxiliary = np.array([demographics(recording.header) for recording in recordings])
    return Prepared(signals, auxiliary, validation.labels)


def test_a_hidden_lead_equals_a_lead_of_zeros(model: Path, sample: Prepared) -> None:
    loaded = load_model(model)
    importance = lead_importance(one_network(loaded, 1), sample)
    windows = np.zeros((len(sample.signals), 12, TINY.signal.window), np.float32)
    for row, signal in zip(windows, sample.signals, strict=True):
        row[:, : signal.shape[1]] = signal[:, : TINY.signal.window]
    windows[:, 6:] = 0
    with torch.inference_mode():
        logits = loaded.networks[1](torch.from_numpy(windows), torch.from_numpy(sample.auxiliary))
    probabilities = torch.sigmoid(logits).numpy().astype(np.float64)
    place = importance.names.index("all six chest leads")
    score = challenge_metric(sample.labels, apply_thresholds(probabilities, loaded.thresholds[1]))
    assert importance.scores[place] == pytest.approx(score) and len(importance.scores) == len(
        importance.names
    ) == 1 + len(HIDDEN)
    few = sample.labels.sum(0) < MIN_RECORDINGS
    assert np.isnan(importance.auroc[:, few]).all() and np.isfinite(importance.auroc[:, ~few]).all()


def test_gates_by_class_are_those_of_the_network(model: Path, sample: Prepared) -> None:
    network = load_model(model).networks[0]
    gates = gates_of(network, sample, TINY.signal.window)
    assert [each.shape for each in gates] == [(30, 8), (30, 16)]
    assert all(((each > 0) & (each < 1)).all() for each in gates)
    assert not network.blocks[0].gate.excite._forward_hooks  # type: ignore[union-attr]
    found = gates_by_class(network, sample, TINY.signal.window)
    k = int(sample.labels.sum(0).argmax())
    part = gates[1][sample.labels[:, k]]
    assert found.shift[1, k] == pytest.approx(np.mean(np.abs(part.mean(0) - gates[1].mean(0))), rel=1e-5)
    assert found.spread[1, k] == pytest.approx(part.std(0).mean(), rel=1e-5)
    assert np.isnan(found.shift[:, ~sample.labels.any(0)]).all()


def test_a_sample_is_bounded_and_has_the_rare_classes() -> None:
    labels = np.random.default_rng(1).random((3000, 24)) < np.linspace(0.004, 0.3, 24)
    chosen = draw_sample(labels)
    assert len(chosen) == len(set(chosen.tolist())) == 200 and (np.diff(chosen) > 0).all()
    assert (labels[chosen].sum(0) >= np.minimum(labels.sum(0), 8)).all()
    np.testing.assert_array_equal(draw_sample(labels), chosen)
    np.testing.assert_array_equal(draw_sample(labels[:9]), np.arange(9))


def test_a_failing_report_does_not_fail_the_training(
    model: Path, data: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    copy = shutil.copytree(model, tmp_path / "model")
    for name in run_module.PAGES:
        (copy / name).unlink()

    def fail(*arguments: object) -> None:
        raise RuntimeError("no fonts")

    monkeypatch.setattr("leadwise.report.training_page.write_pages", fail)
    team_code.training_code(str(data), str(copy), TrainingOptions(recipe="tiny", jobs=1, threads=1))
    assert not (copy / "report.html").exists() and len(load_model(copy).networks) == 2


def test_a_model_that_decides_by_reward_has_a_page_without_thresholds(data: Path, tmp_path: Path) -> None:
    recipe = replace(TINY, decision=replace(TINY.decision, method="reward"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECIPES, "tiny", recipe)
        options = TrainingOptions(recipe="tiny", jobs=1, threads=1, pages=False)
        team_code.training_code(str(data), str(tmp_path), options)
    write_pages(tmp_path, None)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    tables, metadata = Page(text).tables, json.loads((tmp_path / "model.json").read_text())
    steps = {row[0]: row[3:5] for row in tables["steps"][1:]}
    assert list(steps) == ["at 0.5", "common threshold", "class thresholds", "expected reward"]
    for name, key in (("class thresholds", "class_thresholds"), ("expected reward", "expected_reward")):
        assert steps[name] == [f"{fold['validation_scores'][key]:.3f}" for fold in metadata["folds"]]
    assert "<h2>Thresholds" not in text and "Not available: the data folder was not given" in text
    assert len(tables["classes"][1]) == 9
    scores_of_lead_sets_are_those_of_files_without_the_other_leads(tmp_path, data)


def scores_of_lead_sets_are_those_of_files_without_the_other_leads(folder: Path, data: Path) -> None:
    training, model = read_training(folder, None), load_model(folder)
    rows = {row.name: row.score for row in training.subgroups.rows if row.grouping == "leads"}
    assert list(rows) == list(LEAD_SETS)
    for name, leads in LEAD_SETS.items():
        answers, rows_of_file = [], [STANDARD_LEADS.index(lead) for lead in leads]
        for record, fold in zip(training.held_out.names, training.held_out.folds, strict=True):
            recording = read_recording(data / record)
            lines = [recording.header.leads[row] for row in rows_of_file]
            header = replace(recording.header, leads=tuple(lines))
            signal = prepare(recording_from_counts(header, recording.counts[rows_of_file]), TINY.signal)
            features = demographics(header)[None]
            answers.append(one_network(model, int(fold)).predict([signal.values], features).labels[0])
        score = challenge_metric(training.held_out.labels, np.array(answers))
        assert rows[name] == pytest.approx(score, abs=0.02), name


def test_validation_results_of_another_model_are_refused(model: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(model, tmp_path / "model")
    validation = load_validation(copy)
    replace(validation, probabilities=validation.probabilities[::-1].copy()).save(copy)
    assert "does not belong to the model" in run("-m", "leadwise.report", copy, status=1).stderr


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("light", ["--window-size=1000,1400"]),
        ("dark", ["--window-size=1000,1400", "--blink-settings=preferredColorScheme=0"]),
        ("narrow", ["--window-size=500,1400"]),
    ],
)
def test_a_browser_shows_the_page(page: str, tmp_path: Path, name: str, options: list[str]) -> None:
    folder = Path(os.environ.get("LEADWISE_SCREENSHOTS", tmp_path))
    (tmp_path / "report.html").write_text(page, encoding="utf-8")
    shot = folder / f"report-{name}.png"
    chromium(tmp_path, *options, f"--screenshot={shot}", (tmp_path / "report.html").as_uri())
    assert shot.stat().st_size > 20_000


def test_a_browser_requests_nothing_and_needs_no_horizontal_scrolling(page: str, tmp_path: Path) -> None:
    requests = "performance.getEntriesByType('resource').filter(entry => !entry.name.startsWith('data:')).length"
    wide = "document.documentElement.scrollWidth > innerWidth"
    report = f"addEventListener('load', () => document.title = 'requests: ' + {requests} + ', too wide: ' + ({wide}));"
    (tmp_path / "report.html").write_text(page.replace("</script>", f"{report}</script>"), encoding="utf-8")
    shown = chromium(tmp_path, "--window-size=500,900", "--dump-dom", (tmp_path / "report.html").as_uri()).stdout
    assert "<title>requests: 0, too wide: false</title>" in shown
