"""Test one annotated ECG: documented JSON, the same figures on the sheet, evidence equal to that of a plain loop."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from leadwise.api import load
from leadwise.challenge.classes import CODES, DIAGNOSES
from leadwise.model.ensemble import Model, load_model
from leadwise.report.annotated_recording import draw_annotated, evidence_of, findings_of, json_object, load_annotated
from leadwise.report.occlusion import Evidence
from leadwise.report.sheet.layout import Span
from leadwise.report.sheet.paper import figure_bytes
from leadwise.result import validation_accuracy
from leadwise.simulate import write_folder
from leadwise.util.files import read_json, write_json
from tests.commands import run
from tests.conftest import LEADS, header_text, v4_matrix
from tests.model.models import write_model

ROOT = Path(__file__).resolve().parents[2]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two recordings and an untrained model for mV, so that no probability is 0 or 1."""
    folder = tmp_path_factory.mktemp("one")
    write_model(folder / "model", networks=2)
    metadata = read_json(folder / "model" / "model.json")
    metadata["recipe"]["signal"]["unit"] = "mV"
    write_json(folder / "model" / "model.json", metadata)
    write_folder(folder / "ecgs", 2, 3, sources=["E"])
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return load_model(folder / "model")


def keys(value: object, prefix: str = "") -> set[str]:
    """Return the dotted keys of an object; the items of a list share theirs."""
    if isinstance(value, dict):
        return {f"{prefix}{key}" for key in value} | {k for key in value for k in keys(value[key], f"{prefix}{key}.")}
    if isinstance(value, list):
        return {key for item in value for key in keys(item, f"{prefix[:-1]}[].")}
    return set()


def test_json_has_a_line_for_each_recording_and_nothing_else(folder: Path) -> None:
    (folder / "bad.hea").write_text("nonsense\n")
    records = [folder / "ecgs" / "E00001", folder / "bad.hea", folder / "ecgs" / "E00002.mat"]
    printed = run("get_12ECG_score.py", folder / "model", *records, "--json", status=1)
    lines = [json.loads(line) for line in printed.stdout.splitlines()]
    assert [line["record"] for line in lines] == [str(record) for record in records]
    assert [line["name"] for line in lines] == ["E00001", "bad", "E00002"]
    assert [line["error"] is None for line in lines] == [True, False, True]
    inner = {key for key in keys(lines[0]) if key.startswith(("diagnoses[].", "recording"))}
    assert keys(lines[0]) - inner == keys(lines[1]) - {key for key in keys(lines[1]) if key.startswith("recording")}
    assert lines[1]["diagnoses"] == [] and len(lines[0]["diagnoses"]) == 24
    assert all(value is None for value in lines[1]["recording"].values())
    assert lines[0]["evidence"] is None and lines[0]["format"] == "leadwise prediction" and lines[0]["version"] == 3
    assert lines[0]["model"] == {"folder": str(folder / "model"), "recipe": "tiny", "networks": 2}


def test_json_has_the_figures_of_the_library(folder: Path, model: Model) -> None:
    path = folder / "ecgs" / "E00001"
    result = load(folder / "model").predict(path)
    annotated = load_annotated(path)
    line = json_object(path, folder / "model", model, annotated, result, None)
    assert len(line["diagnoses"]) == 24
    ranks = [("likely", "possible", None).index(diagnosis["status"]) for diagnosis in line["diagnoses"]]
    assert ranks == sorted(ranks) and line["warnings"] == list(result.warnings)
    for diagnosis in line["diagnoses"]:
        k = CODES.index(diagnosis["code"])
        assert diagnosis["probability"] == result.probabilities[k] and diagnosis["present"] == result.labels[k]
        assert (diagnosis["name"], diagnosis["abbreviation"]) == (DIAGNOSES[k].name, DIAGNOSES[k].abbreviation)
        assert diagnosis["threshold"] == model.thresholds[:, k].mean() and diagnosis["validation"] is None
    assert annotated is not None
    header = annotated.recording.header
    assert line["recording"]["sampling_frequency_hz"] == header.sampling_frequency == 500
    assert line["recording"]["seconds"] == annotated.recording.counts.shape[1] / 500
    assert (line["recording"]["age_years"], line["recording"]["sex"]) == (header.age, header.sex)


def test_json_lists_repairs_and_missing_leads(
    folder: Path, model: Model, counts: np.ndarray, write_record: Callable[..., Path]
) -> None:
    header = header_text("A0001", counts[:2], leads=("II", "I"), comments=("#Age: old",))
    path = write_record(header=header, matrix=v4_matrix(counts[:2]))
    line = json_object(path, folder, model, load_annotated(path), load(folder / "model").predict(path), None)
    repairs = {repair["name"]: repair["detail"] for repair in line["repairs"]}
    assert set(repairs) == {"unreadable-age", "leads-reordered", "lead-derived", "lead-missing"}
    assert repairs["lead-missing"] == "V1, V2, V3, V4, V5, V6"
    assert line["recording"]["missing_leads"] == ["V1", "V2", "V3", "V4", "V5", "V6"]
    assert line["recording"]["age_years"] is None


def test_every_json_key_is_documented(folder: Path, model: Model) -> None:
    path = folder / "ecgs" / "E00001"
    result, annotated = load(folder / "model").predict(path), load_annotated(path)
    evidence = Evidence(3, 0.5, 0.0, 10.0, (Span(1, 0.0, 0.5, 0.1),), np.zeros(12))
    page = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    words = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]*)`", page))))
    for key in keys(json_object(path, folder, model, annotated, result, evidence)):
        assert key.rpartition(".")[2] in words, key


def test_validation_figures_are_those_of_all_folds_together(folder: Path) -> None:
    metadata = read_json(folder / "model" / "model.json")
    assert validation_accuracy(metadata) is None
    for fold in metadata["folds"]:
        fold["validation_counts"] = {"tp": [3] * 23 + [0], "fp": [1] * 23 + [0], "fn": [2] * 24}
    metadata["folds"][0]["validation_counts"]["tp"][0] = 10
    figures = validation_accuracy(metadata)
    assert figures is not None
    sensitivity, ppv = figures
    assert (sensitivity[0], ppv[0]) == (13 / 17, 13 / 15) and (sensitivity[1], ppv[1]) == (0.6, 0.75)
    assert sensitivity[23] == 0 and np.isnan(ppv[23])
    model = load_model(folder / "model")
    model.metadata.update(metadata)
    path = folder / "ecgs" / "E00001"
    result = load(folder / "model").predict(path)
    line = json_object(path, folder, model, load_annotated(path), result, None)
    by_code = {diagnosis["code"]: diagnosis["validation"] for diagnosis in line["diagnoses"]}
    assert by_code[CODES[0]] == {"sensitivity": 13 / 17, "ppv": 13 / 15}
    assert by_code[CODES[23]] == {"sensitivity": 0.0, "ppv": None}
    findings = dict(zip(result.order, findings_of(model, result), strict=True))
    assert (findings[1].sensitivity, findings[1].ppv) == (0.6, 0.75)


def words(content: bytes) -> list[str]:
    return [text.text or "" for text in ElementTree.fromstring(content).iter(f"{SVG}text")]


def test_the_sheet_has_the_figures_of_the_json_output(folder: Path, tmp_path: Path) -> None:
    record, sheet = folder / "ecgs" / "E00001", tmp_path / "sheet.svg"
    printed = run("get_12ECG_score.py", folder / "model", record, "--json", "--plot", sheet)
    line = json.loads(printed.stdout)
    texts = words(sheet.read_bytes())
    assert {"E00001", *LEADS} <= set(texts)
    names = [f"{d['name']} ({d['abbreviation']})" for d in line["diagnoses"]]
    shown = [text for text in texts if text in names]
    assert shown == [name for name in names if name in shown] and len(shown) > 15  # the longest are cut
    for diagnosis in line["diagnoses"]:
        assert f"{diagnosis['probability']:.3f}" in texts and f"{diagnosis['threshold']:.2f}" in texts
    evidence = line["evidence"]
    findings = [d["code"] for d in line["diagnoses"] if d["status"] and d["abbreviation"] != "NSR"]
    assert evidence["code"] == [*findings, line["diagnoses"][0]["code"]][0]
    assert [lead["lead"] for lead in evidence["leads"]] == list(LEADS)
    drops = [span["drop"] for span in evidence["spans"]]
    assert drops == sorted(drops, reverse=True) and all(drop >= 0.05 for drop in drops)
    name = evidence["abbreviation"]
    shaded = f"hiding it lowers {name} by up to {drops[0]:.3f}" if drops else f"lowers {name} by less than 0.05"
    assert any(shaded in text for text in texts)


@pytest.mark.parametrize("ending", ["png", "pdf"])
def test_the_sheet_has_other_formats_and_needs_no_evidence(folder: Path, tmp_path: Path, ending: str) -> None:
    sheet = tmp_path / f"sheet.{ending}"
    printed = run(
        "get_12ECG_score.py", folder / "model", folder / "ecgs" / "E00002", "--plot", sheet, "--no-evidence"
    ).stdout
    assert "probability" in printed
    assert sheet.read_bytes()[:4] == {"png": b"\x89PNG", "pdf": b"%PDF"}[ending]


def test_a_long_recording_is_drawn_where_its_evidence_is(folder: Path, model: Model, tmp_path: Path) -> None:
    write_folder(tmp_path, 1, 8, sources=["I"], longest=40)
    path = tmp_path / "I0001"
    annotated, result = load_annotated(path), load(folder / "model").predict(path)
    assert annotated is not None
    evidence = evidence_of(model, annotated, result)
    assert evidence is not None
    start = min(evidence.start, 30.0)
    texts = words(figure_bytes(draw_annotated(model, annotated, result, evidence), "svg"))
    assert any(f"{start:.4g} to {start + 10:.4g} s of 40 s" in text for text in texts)


def test_a_recording_that_was_not_used_is_drawn_without_diagnoses(folder: Path, tmp_path: Path) -> None:
    counts = np.tile(np.arange(10, dtype=np.int16), (12, 1))  # 2 ms: not one sample at 257 Hz
    (tmp_path / "A0001.hea").write_text(header_text("A0001", counts, frequency=5000))
    (tmp_path / "A0001.mat").write_bytes(v4_matrix(counts))
    arguments = ("get_12ECG_score.py", folder / "model", tmp_path / "A0001", "--plot", tmp_path / "sheet.svg")
    run(*arguments, status=1)
    texts = words((tmp_path / "sheet.svg").read_bytes())
    assert any("could not use this recording" in text for text in texts) and "threshold" not in texts


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--plot", "{tmp}/sheet.jpg"], 2, "ends in .png, .svg, .pdf"),
        (["{ecg}", "--plot", "{tmp}/sheet.png"], 2, "--plot draws one recording, not 2"),
        (["--no-evidence", "--plot", "{tmp}/nowhere/sheet.png"], 1, "No such file or directory"),
    ],
)
def test_a_sheet_that_cannot_be_drawn_is_reported_in_one_line(
    folder: Path, tmp_path: Path, arguments: list[str], status: int, message: str
) -> None:
    ecg = folder / "ecgs" / "E00001"
    more = [argument.format(tmp=tmp_path, ecg=ecg) for argument in arguments]
    result = run("get_12ECG_score.py", folder / "model", ecg, *more, status=status)
    assert message in result.stderr and len(result.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_recording_that_cannot_be_read_has_no_sheet(folder: Path, tmp_path: Path) -> None:
    run("get_12ECG_score.py", folder / "model", folder / "missing", "--plot", tmp_path / "sheet.png", status=1)
    assert list(tmp_path.iterdir()) == []


def test_neither_matplotlib_nor_the_training_is_loaded_without_a_plot(folder: Path) -> None:
    arguments = [str(folder / "model"), str(folder / "ecgs" / "E00001"), "--json"]
    program = f"""import sys
from leadwise.command_line import run
from leadwise.commands.predict import predict_with
status = run(predict_with, "get_12ECG_score.py", {arguments})
sys.exit(status or bool({{'matplotlib', 'jinja2', 'leadwise.training'}} & set(sys.modules)))"""
    run("-c", program)
