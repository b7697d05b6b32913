"""The report that a training leaves: its figures are the evaluator's, it shows all that it promises, no failure hurts.

The pages are opened in Chromium where there is one; LEADWISE_SCREENSHOTS names a folder for the pictures of them.
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
from leadwise.decision.thresholds import apply_thresholds
from leadwise.ecg.preprocessing import demographics, prepare
from leadwise.ecg.recording import read_recording
from leadwise.model.ensemble import load_model
from leadwise.model.validation_results import FILE, load_validation
from leadwise.options import TrainingOptions
from leadwise.recipes import RECIPES, NetworkRecipe, Recipe, SignalRecipe, TrainingRecipe
from leadwise.report.card import model_card
from leadwise.report.lead_importance import (
    HIDDEN,
    LEAST,
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
from tests.report.test_evaluation_page import Page, chromium
from tests.test_commands import run

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
    """A model of recipe `tiny` with its pages, trained in this process."""
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECIPES, "tiny", TINY)
        team_code.training_code(str(data), str(folder), TrainingOptions(recipe="tiny", jobs=1, threads=1))
        yield folder


@pytest.fixture(scope="module")
def page(model: Path) -> str:
    return (model / "report.html").read_text(encoding="utf-8")


# ---------------------------------------------------------------------------------------------------------------- notes


def test_each_recording_was_answered_by_the_fold_that_did_not_see_it(model: Path) -> None:
    notes, metadata = load_validation(model), json.loads((model / "model.json").read_text())
    assert set(notes.folds.tolist()) == {0, 1} and len(notes) == metadata["training"]["recordings"] == len(
        notes.validated
    )
    for place, fold in enumerate(metadata["folds"]):
        mine = notes.part(notes.folds == place)
        assert len(mine) == fold["validation_recordings"]
        answers = apply_thresholds(mine.probabilities, np.array(fold["thresholds"]))
        assert challenge_metric(mine.labels, answers) == pytest.approx(fold["validation_scores"]["full"])
        assert (mine.labels & answers).sum(0).tolist() == fold["validation_counts"]["tp"]


def test_what_is_noted_of_a_recording_is_what_its_header_says(model: Path, data: Path) -> None:
    notes = load_validation(model)
    for place in range(0, len(notes), 7):
        header = read_recording(data / notes.names[place]).header
        assert notes.frequencies[place] == header.sampling_frequency and notes.sources[place] == header.source
        assert notes.seconds[place] == pytest.approx(header.samples / header.sampling_frequency, abs=0.01)
        assert (np.isnan(notes.ages[place]) and header.age is None) or notes.ages[place] == pytest.approx(header.age)
        assert notes.sexes[place] == {None: 0, "female": 1, "male": 2}[header.sex]


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff" * 64])
def test_damaged_notes_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(ValueError, match=FILE):
        load_validation(tmp_path)


# -------------------------------------------------------------------------------------------------------------- figures


def test_figures_are_those_of_the_evaluator(model: Path, data: Path, page: str, tmp_path: Path) -> None:
    notes, metadata = load_validation(model), json.loads((model / "model.json").read_text())
    for folder in ("labels", "outputs"):
        (tmp_path / folder).mkdir()
    for name, fold, scores in zip(notes.names, notes.folds, notes.probabilities.astype(np.float64), strict=True):
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
        for row, key in zip(tables["steps"][1:], ("half", "common", "full"), strict=True):
            assert row[3 + place] == f"{fold['validation_scores'][key]:.3f}"
        row = tables["folds"][1 + place]
        assert row[:3] == [str(place), str(fold["validation_recordings"]), f"{fold['validation_scores']['full']:.3f}"]
        assert row[-1] == f"{fold['best_epoch']} of 2"
    thresholds = np.mean([fold["thresholds"] for fold in metadata["folds"]], axis=0)
    assert [row[-1] for row in tables["classes"][1:]] == [f"{threshold:.3f}" for threshold in thresholds]


def test_data_and_reasons_are_told(model: Path, page: str) -> None:
    tables, metadata = Page(page).tables, json.loads((model / "model.json").read_text())["training"]
    rows = {row[0]: row for row in tables["sources"][1:]}
    assert {source: int(row[2]) for source, row in rows.items()} == metadata["recordings_per_source"]
    assert rows["E"][1].startswith("Georgia") and rows["A"][4] == "500"
    assert sum(int(row[1]) for row in tables["left-out"][1:]) == sum(metadata["left_out"].values()) >= 1
    for name, count in metadata["repairs"].items():
        assert [name, str(count)] in [row[:2] for row in tables["repairs"]]


def test_the_page_needs_nothing_else_and_each_picture_has_its_words(page: str) -> None:
    parsed = Page(page)
    assert all(address.startswith(("data:", "#")) for address in parsed.addresses)
    assert not re.search(r"@import|url\(\s*['\"]?(?!#)", page)
    assert len(page.encode()) < 5_000_000 and "default-src 'none'" in page
    assert page.count("<svg ") >= 18 and page.count("<img ") == 10
    assert len(parsed.alternatives) == page.count("<svg ") + 10 and all(len(text) > 20 for text in parsed.alternatives)
    assert len(parsed.ids) == len(set(parsed.ids))


def test_the_card_has_the_figures_and_no_gap(model: Path, page: str) -> None:
    card = (model / "model_card.md").read_text(encoding="utf-8")
    figures = Page(page).tables["figures"][1]
    assert f"| challenge metric | {figures[-1]} (" in card and f"| AUROC, mean of classes | {figures[1]} |" in card
    assert "Not a\nmedical device" in card and "CC BY 4.0" in card and "Georgia" in card
    assert all(f"| {code} |" in card for code in CODES)
    assert "cannot know: " in card and not re.search(r"TODO|XXX|None\b|\{|\}|nan", card)


def test_card_and_page_say_what_simulated_ecgs_taught(model: Path) -> None:
    training = read_training(model, None)
    training.metadata["training"]["simulated"] = {"recordings": 1234, "epochs": 6}
    training.metadata["simulation_network"] = {"file": "simulation_network.safetensors", "share": 0.5}
    card = " ".join(model_card(training.metadata, training.read, training.scores).split())
    assert "It began with what 1234 simulated ECGs taught. A network that simulated ECGs alone have taught" in card
    page = training_page(training, None)
    assert "what 1234 simulated ECGs taught in 6 epochs" in page and "weighs 0.5 for recordings from elsewhere" in page


# ---------------------------------------------------------------------------------------------------------------- leads


@pytest.fixture(scope="module")
def sample(model: Path, data: Path) -> Prepared:
    notes = load_validation(model).part(np.arange(30))
    recordings = [read_recording(data / name) for name in notes.names]
    signals = [prepare(recording, TINY.signal).values for recording in recordings]
    people = np.array([demographics(recording.header) for recording in recordings])
    return Prepared(signals, people, notes.labels)


def test_hiding_leads_is_what_zeros_do(model: Path, sample: Prepared) -> None:
    loaded = load_model(model)
    worth = lead_importance(one_network(loaded, 1), sample)
    windows = np.zeros((len(sample.signals), 12, TINY.signal.window), np.float32)
    for row, signal in zip(windows, sample.signals, strict=True):
        row[:, : signal.shape[1]] = signal[:, : TINY.signal.window]
    windows[:, 6:] = 0
    with torch.inference_mode():
        logits = loaded.networks[1](torch.from_numpy(windows), torch.from_numpy(sample.demographics))
    probabilities = torch.sigmoid(logits).numpy().astype(np.float64)
    place = worth.names.index("all six chest leads")
    score = challenge_metric(sample.labels, apply_thresholds(probabilities, loaded.thresholds[1]))
    assert worth.scores[place] == pytest.approx(score) and len(worth.scores) == len(worth.names) == 1 + len(HIDDEN)
    few = sample.labels.sum(0) < LEAST
    assert np.isnan(worth.auroc[:, few]).all() and np.isfinite(worth.auroc[:, ~few]).all()


def test_gates_are_those_of_the_network(model: Path, sample: Prepared) -> None:
    network = load_model(model).networks[0]
    gates = gates_of(network, sample, TINY.signal.window)
    assert [each.shape for each in gates] == [(30, 8), (30, 16)]
    assert all(((each > 0) & (each < 1)).all() for each in gates)
    assert not network.blocks[0].gate.excite._forward_hooks  # type: ignore[union-attr]
    found = gates_by_class(network, sample, TINY.signal.window)
    k = int(sample.labels.sum(0).argmax())
    mine = gates[1][sample.labels[:, k]]
    assert found.shift[1, k] == pytest.approx(np.mean(np.abs(mine.mean(0) - gates[1].mean(0))), rel=1e-5)
    assert found.spread[1, k] == pytest.approx(mine.std(0).mean(), rel=1e-5)
    assert np.isnan(found.shift[:, ~sample.labels.any(0)]).all()


def test_a_sample_is_small_and_has_the_rare_classes() -> None:
    labels = np.random.default_rng(1).random((3000, 24)) < np.linspace(0.004, 0.3, 24)
    chosen = draw_sample(labels)
    assert len(chosen) == len(set(chosen.tolist())) == 200 and (np.diff(chosen) > 0).all()
    assert (labels[chosen].sum(0) >= np.minimum(labels.sum(0), 8)).all()
    np.testing.assert_array_equal(draw_sample(labels), chosen)
    np.testing.assert_array_equal(draw_sample(labels[:9]), np.arange(9))


# ------------------------------------------------------------------------------------------------------- what may fail


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
    assert list(steps) == ["at 0.5", "common threshold", "full search", "expected reward"]
    for name, key in (("full search", "full"), ("expected reward", "reward")):
        assert steps[name] == [f"{fold['validation_scores'][key]:.3f}" for fold in metadata["folds"]]
    assert "<h2>Thresholds" not in text and "Not told: the recordings were not there" in text
    assert len(tables["classes"][1]) == 9


def test_notes_of_another_model_are_refused(model: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(model, tmp_path / "model")
    notes = load_validation(copy)
    replace(notes, probabilities=notes.probabilities[::-1].copy()).save(copy)
    assert "not of the model" in run("-m", "leadwise.report", copy, status=1).stderr


# -------------------------------------------------------------------------------------------------------- in a browser


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


def test_a_browser_asks_for_nothing_and_has_no_scrolling_sideways(page: str, tmp_path: Path) -> None:
    asked = "performance.getEntriesByType('resource').filter(entry => !entry.name.startsWith('data:')).length"
    wide = "document.documentElement.scrollWidth > innerWidth"
    tell = f"addEventListener('load', () => document.title = 'asked for ' + {asked} + ', too wide: ' + ({wide}));"
    (tmp_path / "report.html").write_text(page.replace("</script>", f"{tell}</script>"), encoding="utf-8")
    shown = chromium(tmp_path, "--window-size=500,900", "--dump-dom", (tmp_path / "report.html").as_uri()).stdout
    assert "<title>asked for 0, too wide: false</title>" in shown
