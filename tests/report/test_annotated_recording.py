"""One ECG: the JSON line is as documented, the sheet has the same figures, the evidence is what a plain loop finds."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from leadwise.api import load, validation_accuracy
from leadwise.challenge.classes import CODES, DIAGNOSES
from leadwise.model.ensemble import Model, load_model
from leadwise.report.annotated_recording import answer, evidence_of, load_annotated
from leadwise.report.answer_sheet import draw_answer, findings_of
from leadwise.report.occlusion import Evidence, cells, find_evidence, without_piece
from leadwise.report.sheet.layout import Span
from leadwise.report.sheet.paper import figure_bytes
from leadwise.simulate import write_folder
from leadwise.util.files import read_json, write_json
from tests.conftest import LEADS, header_text, v4_matrix
from tests.model.test_ensemble import write_model
from tests.test_commands import run

ROOT = Path(__file__).resolve().parents[2]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model for signals in mV, with which its probabilities are neither 0 nor 1, and two recordings."""
    folder = tmp_path_factory.mktemp("one")
    write_model(folder / "model", networks=2)
    metadata = read_json(folder / "model" / "model.json")
    metadata["recipe"]["signal"]["unit"] = "mV"
    write_json(folder / "model" / "model.json", metadata)
    write_folder(folder / "ecgs", 2, 3, sources=["E"])
    return folder


@pytest.fixture(scope="module")
def model(room: Path) -> Model:
    return load_model(room / "model")


def keys(value: object, prefix: str = "") -> set[str]:
    """The dotted keys of an object, those of a list's items together."""
    if isinstance(value, dict):
        return {f"{prefix}{key}" for key in value} | {k for key in value for k in keys(value[key], f"{prefix}{key}.")}
    if isinstance(value, list):
        return {key for item in value for key in keys(item, f"{prefix[:-1]}[].")}
    return set()


# ----------------------------------------------------------------------------------------------------------- the line


def test_json_has_a_line_for_each_recording_and_nothing_else(room: Path) -> None:
    (room / "bad.hea").write_text("nonsense\n")
    records = [room / "ecgs" / "E00001", room / "bad.hea", room / "ecgs" / "E00002.mat"]
    printed = run("get_12ECG_score.py", room / "model", *records, "--json", status=1)
    lines = [json.loads(line) for line in printed.stdout.splitlines()]
    assert [line["record"] for line in lines] == [str(record) for record in records]
    assert [line["name"] for line in lines] == ["E00001", "bad", "E00002"]
    assert [line["problem"] is None for line in lines] == [True, False, True]
    assert keys(lines[0]) == keys(lines[1])
    assert all(value is None for value in lines[1]["recording"].values())
    assert lines[0]["evidence"] is None and lines[0]["format"] == "leadwise answer" and lines[0]["version"] == 1
    assert lines[0]["model"] == {"folder": str(room / "model"), "recipe": "tiny", "networks": 2}


def test_the_line_says_what_the_library_says(room: Path, model: Model) -> None:
    path = room / "ecgs" / "E00001"
    result = load(room / "model").predict(path)
    look = load_annotated(path)
    line = answer(path, room / "model", model, look, result, None)
    assert len(line["diagnoses"]) == 24
    assert [d["present"] for d in line["diagnoses"]] == sorted((d["present"] for d in line["diagnoses"]), reverse=True)
    for diagnosis in line["diagnoses"]:
        k = CODES.index(diagnosis["code"])
        assert diagnosis["probability"] == result.probabilities[k] and diagnosis["present"] == result.labels[k]
        assert (diagnosis["name"], diagnosis["abbreviation"]) == (DIAGNOSES[k].name, DIAGNOSES[k].abbreviation)
        assert diagnosis["threshold"] == model.thresholds[:, k].mean() and diagnosis["validation"] is None
    assert look is not None
    header = look.recording.header
    assert line["recording"]["sampling_frequency_hz"] == header.sampling_frequency == 500
    assert line["recording"]["seconds"] == look.recording.counts.shape[1] / 500
    assert (line["recording"]["age_years"], line["recording"]["sex"]) == (header.age, header.sex)


def test_repairs_and_missing_leads_are_told(
    room: Path, model: Model, counts: np.ndarray, write_record: Callable[..., Path]
) -> None:
    header = header_text("A0001", counts[:2], leads=("II", "I"), comments=("#Age: old",))
    path = write_record(header=header, matrix=v4_matrix(counts[:2]))
    line = answer(path, room, model, load_annotated(path), load(room / "model").predict(path), None)
    told = {repair["name"]: repair["detail"] for repair in line["repairs"]}
    assert set(told) == {"unreadable-age", "leads-reordered", "lead-derived", "lead-missing"}
    assert told["lead-missing"] == "V1, V2, V3, V4, V5, V6"
    assert line["recording"]["missing_leads"] == ["V1", "V2", "V3", "V4", "V5", "V6"]
    assert line["recording"]["age_years"] is None


def test_every_key_is_documented(room: Path, model: Model) -> None:
    path = room / "ecgs" / "E00001"
    result, look = load(room / "model").predict(path), load_annotated(path)
    evidence = Evidence(3, 0.5, 0.0, 10.0, (Span(1, 0.0, 0.5, 0.1),), np.zeros(12))
    page = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
    words = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]*)`", page))))
    for key in keys(answer(path, room, model, look, result, evidence)):
        assert key.rpartition(".")[2] in words, key


def test_validation_figures_are_those_of_all_folds_together(room: Path) -> None:
    metadata = read_json(room / "model" / "model.json")
    assert validation_accuracy(metadata) is None
    for fold in metadata["folds"]:
        fold["validation_counts"] = {"tp": [3] * 23 + [0], "fp": [1] * 23 + [0], "fn": [2] * 24}
    metadata["folds"][0]["validation_counts"]["tp"][0] = 10
    figures = validation_accuracy(metadata)
    assert figures is not None
    sensitivity, ppv = figures
    assert (sensitivity[0], ppv[0]) == (13 / 17, 13 / 15) and (sensitivity[1], ppv[1]) == (0.6, 0.75)
    assert sensitivity[23] == 0 and np.isnan(ppv[23])
    model = load_model(room / "model")
    model.metadata.update(metadata)
    path = room / "ecgs" / "E00001"
    result = load(room / "model").predict(path)
    line = answer(path, room, model, load_annotated(path), result, None)
    by_code = {diagnosis["code"]: diagnosis["validation"] for diagnosis in line["diagnoses"]}
    assert by_code[CODES[0]] == {"sensitivity": 13 / 17, "ppv": 13 / 15}
    assert by_code[CODES[23]] == {"sensitivity": 0.0, "ppv": None}
    findings = dict(zip(result.order, findings_of(model, result), strict=True))
    assert (findings[1].sensitivity, findings[1].ppv) == (0.6, 0.75)


# ----------------------------------------------------------------------------------------------------------- evidence


def plain_fall(
    model: Model, signal: NDArray[np.float32], person: NDArray[np.float32], diagnosis: int, lead: int, half: int
) -> float:
    """How far the probability falls without one half second, sample by sample."""
    frequency = model.recipe.signal.sampling_frequency
    first, end = round(half * frequency / 2), round((half + 1) * frequency / 2)
    altered = signal.copy()
    for place in range(first, end):
        left = signal[lead, first - 1] if first else signal[lead, end]
        right = signal[lead, end] if end < signal.shape[1] else signal[lead, first - 1]
        altered[lead, place] = left + (right - left) * (place - first + 1) / (end - first + 1)
    before, after = (model.predict([one], person[None]).scores[0, diagnosis] for one in (signal, altered))
    return float(before - after)


def test_falls_are_those_of_a_plain_loop(model: Model) -> None:
    random = np.random.default_rng(3)
    signal = random.normal(size=(12, 256)).astype(np.float32)  # one window: all is examined
    signal[5] = 0
    person = np.array([0.6, 0, 1, 0, 1], np.float32)
    evidence = find_evidence(model, signal, person, 7)
    assert (evidence.start, evidence.end) == (0, 256 / 257)
    assert {(span.lead, span.start) for span in evidence.spans} == {
        (lead, start) for lead in range(12) if lead != 5 for start in (0, 128 / 257)
    }
    assert all(span.end > span.start for span in evidence.spans) and max(s.end for s in evidence.spans) == 256 / 257
    first = [span for span in evidence.spans if span.start == 0]
    expected = [plain_fall(model, signal, person, 7, span.lead, 0) for span in first]
    np.testing.assert_allclose([span.weight for span in first], expected, atol=1e-6)
    assert np.ptp(expected) > 1e-5
    for lead in (0, 5):
        without = signal.copy()
        without[lead] = 0
        before, after = (model.predict([one], person[None]).scores[0, 7] for one in (signal, without))
        assert evidence.leads[lead] == pytest.approx(before - after, abs=1e-6)


def test_of_a_long_recording_the_most_probable_window_is_examined(model: Model) -> None:
    signal = np.random.default_rng(4).normal(size=(12, 1000)).astype(np.float32)
    person = np.zeros(5, np.float32)
    evidence = find_evidence(model, signal, person, 2)
    starts = [0, 186, 372, 558, 744]  # windows of 256 that share at least 32
    alone = [model.predict([signal[:, s : s + 256]], person[None]).scores[0, 2] for s in starts]
    assert evidence.start == starts[int(np.argmax(alone))] / 257
    assert evidence.end - evidence.start == pytest.approx(256 / 257)
    assert evidence.probability == pytest.approx(max(alone), abs=1e-6)


@pytest.mark.parametrize("samples, width", [(2570, 128.5), (1, 128.5), (100, 128.5), (200, 128.5), (1300, 128.5)])
def test_cells_cover_every_sample_once(samples: int, width: float) -> None:
    pieces = cells(samples, width)
    assert [place for first, end in pieces for place in range(first, end)] == list(range(samples))
    assert samples < width or all(width / 2 - 1 <= end - first <= 1.5 * width + 1 for first, end in pieces)


def test_a_hidden_piece_is_a_straight_line() -> None:
    signal = np.arange(24, dtype=np.float32).reshape(2, 12) ** 2
    middle = without_piece(signal, 1, 3, 6)
    np.testing.assert_allclose(middle[1, 2:7], np.linspace(signal[1, 2], signal[1, 6], 5))
    np.testing.assert_array_equal(middle[0], signal[0])
    np.testing.assert_array_equal(without_piece(signal, 0, 0, 4)[0, :4], signal[0, 4])
    np.testing.assert_array_equal(without_piece(signal, 0, 9, 12)[0, 9:], signal[0, 8])
    assert not without_piece(signal, 0, 0, 12)[0].any()


def test_only_what_makes_the_probability_fall_is_told() -> None:
    falls = [0.4, 0.05, -0.9, 0.2, 0.1]
    spans = tuple(Span(lead, 0.0, 0.5, fall) for lead, fall in enumerate(falls))
    evidence = Evidence(0, 0.8, 0.0, 0.5, spans, np.zeros(12))
    assert [span.weight for span in evidence.strongest()] == [0.4, 0.2, 0.1]
    many = tuple(Span(k % 12, 0.5 * (k // 12), 0.5 * (k // 12) + 0.5, 0.3) for k in range(40))
    assert len(Evidence(0, 0.8, 0.0, 2.0, many, np.zeros(12)).strongest()) == 12
    assert Evidence(0, 0.8, 0.0, 0.5, spans[2:3], np.zeros(12)).strongest() == []


# ---------------------------------------------------------------------------------------------------------- the sheet


def words(content: bytes) -> list[str]:
    return [text.text or "" for text in ElementTree.fromstring(content).iter(f"{SVG}text")]


def test_plot_draws_what_json_says(room: Path, tmp_path: Path) -> None:
    record, sheet = room / "ecgs" / "E00001", tmp_path / "sheet.svg"
    printed = run("get_12ECG_score.py", room / "model", record, "--json", "--plot", sheet)
    line = json.loads(printed.stdout)
    texts = words(sheet.read_bytes())
    assert {"E00001", *LEADS} <= set(texts)
    names = [f"{d['name']} ({d['abbreviation']})" for d in line["diagnoses"]]
    shown = [text for text in texts if text in names]
    assert shown == [name for name in names if name in shown] and len(shown) > 15  # the longest are cut
    for diagnosis in line["diagnoses"]:
        assert f"{diagnosis['probability']:.3f}" in texts and f"{diagnosis['threshold']:.2f}" in texts
    evidence = line["evidence"]
    assert evidence["code"] == line["diagnoses"][0]["code"]
    assert [lead["lead"] for lead in evidence["leads"]] == list(LEADS)
    falls = [span["fall"] for span in evidence["spans"]]
    assert falls == sorted(falls, reverse=True) and all(fall > 0 for fall in falls)
    assert any(f"falls by up to {falls[0]:.3f}" in text for text in texts)


@pytest.mark.parametrize("ending", ["png", "pdf"])
def test_plot_draws_other_formats_and_evidence_can_be_left_out(room: Path, tmp_path: Path, ending: str) -> None:
    sheet = tmp_path / f"sheet.{ending}"
    printed = run(
        "get_12ECG_score.py", room / "model", room / "ecgs" / "E00002", "--plot", sheet, "--no-evidence"
    ).stdout
    assert "probability" in printed
    assert sheet.read_bytes()[:4] == {"png": b"\x89PNG", "pdf": b"%PDF"}[ending]


def test_a_long_recording_is_drawn_where_the_evidence_lies(room: Path, model: Model, tmp_path: Path) -> None:
    write_folder(tmp_path, 1, 8, sources=["I"], longest=40)
    path = tmp_path / "I0001"
    look, result = load_annotated(path), load(room / "model").predict(path)
    assert look is not None
    evidence = evidence_of(model, look, result)
    assert evidence is not None
    start = min(evidence.start, 30.0)
    texts = words(figure_bytes(draw_answer(model, look, result, evidence), "svg"))
    assert any(f"{start:.4g} to {start + 10:.4g} s of 40 s" in text for text in texts)


def test_what_was_not_used_is_drawn_without_diagnoses(room: Path, tmp_path: Path) -> None:
    counts = np.tile(np.arange(10, dtype=np.int16), (12, 1))  # 2 ms: not one sample at 257 Hz
    (tmp_path / "A0001.hea").write_text(header_text("A0001", counts, frequency=5000))
    (tmp_path / "A0001.mat").write_bytes(v4_matrix(counts))
    arguments = ("get_12ECG_score.py", room / "model", tmp_path / "A0001", "--plot", tmp_path / "sheet.svg")
    run(*arguments, status=1)
    texts = words((tmp_path / "sheet.svg").read_bytes())
    assert any("could not use it" in text for text in texts) and "threshold" not in texts


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--plot", "{tmp}/sheet.jpg"], 2, "ends in .png, .svg, .pdf"),
        (["{ecg}", "--plot", "{tmp}/sheet.png"], 2, "--plot draws one recording, not 2"),
        (["--no-evidence", "--plot", "{tmp}/nowhere/sheet.png"], 1, "No such file or directory"),
    ],
)
def test_what_cannot_be_drawn_says_so_in_one_line(
    room: Path, tmp_path: Path, arguments: list[str], status: int, message: str
) -> None:
    ecg = room / "ecgs" / "E00001"
    more = [argument.format(tmp=tmp_path, ecg=ecg) for argument in arguments]
    result = run("get_12ECG_score.py", room / "model", ecg, *more, status=status)
    assert message in result.stderr and len(result.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_recording_that_cannot_be_read_has_no_sheet(room: Path, tmp_path: Path) -> None:
    run("get_12ECG_score.py", room / "model", room / "nobody", "--plot", tmp_path / "sheet.png", status=1)
    assert list(tmp_path.iterdir()) == []


def test_without_a_plot_no_matplotlib_is_loaded() -> None:
    program = "import sys, get_12ECG_score; sys.exit('matplotlib' in sys.modules)"
    run("-c", program)
