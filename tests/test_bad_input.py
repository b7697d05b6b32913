"""Every recording gets an answer, and docs/file-formats.md has the true outcome of each kind of bad input."""

from __future__ import annotations

import csv
import logging
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from leadwise.challenge.outputs import read_output
from leadwise.data.prepare import prepare_dataset
from leadwise.ecg.discovery import find_records
from leadwise.ecg.leads import SIGNAL_REPAIRS
from leadwise.ecg.repairs import REPAIRS, reason_kind
from leadwise.model import scoring
from leadwise.model.ensemble import Model, load_model
from leadwise.model.prediction import Prediction
from leadwise.model.scoring import score_arrays, score_folder
from leadwise.options import DriverOptions
from leadwise.recipes import SignalRecipe
from leadwise.util.text import printable
from tests.bad_input import DOCUMENT, GOOD, KINDS, TEXT, Kind, filled, outcome, reasons, tables, write_kinds
from tests.model.models import PRIOR, write_model

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    write_model(folder)
    return folder


@pytest.fixture(scope="module")
def model(model_folder: Path) -> Model:
    return load_model(model_folder)


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Kind]]:
    folder = tmp_path_factory.mktemp("kinds")
    return folder, write_kinds(folder)


def driver(*arguments: object, status: int = 0) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LEADWISE_")}
    command = [sys.executable, "driver.py", *map(str, arguments), "--jobs", "2", "--batch-size", "16"]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done


# --- The document


def test_the_document_has_the_outcomes_of_the_program(model: Model) -> None:
    assert len({kind.title for kind in KINDS}) == len(KINDS) >= 60
    document = DOCUMENT.read_text()
    assert document == filled(document, tables(model)), "python -m tests.bad_input writes it again"


def test_the_kinds_show_every_repair() -> None:
    kinds = DOCUMENT.read_text().partition("<!-- kinds -->")[2]
    alone = set(REPAIRS) - {"segments"}  # which takes several recordings: tests/ecg/test_segments.py
    assert alone | set(SIGNAL_REPAIRS) == set(re.findall(r"`([a-z-]+)`", kinds))


def test_every_reason_of_a_kind_is_in_the_list_of_reasons() -> None:
    listed = [text for texts in reasons().values() for text in texts]
    patterns = [re.compile(".*".join(map(re.escape, text.split("...")))) for text in listed]
    rows = re.findall(r"\| prior: (.*) \|$", DOCUMENT.read_text(), flags=re.MULTILINE)
    assert len(rows) > 50
    for row in rows:
        assert any(pattern.fullmatch(row) for pattern in patterns), row


# --- The driver


@pytest.fixture(scope="module")
def answered(
    model_folder: Path, kinds: tuple[Path, dict[str, Kind]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, str]:
    """Return outputs, list of problems and printed text of one run over all kinds."""
    outputs, problems = tmp_path_factory.mktemp("outputs"), tmp_path_factory.mktemp("list") / "problems.csv"
    printed = driver(model_folder, kinds[0], outputs, "--problems", problems, "--precision", "fp32").stdout
    return outputs, problems, printed


def test_each_kind_has_a_valid_output(kinds: tuple[Path, dict[str, Kind]], answered: tuple[Path, Path, str]) -> None:
    assert sorted(path.name for path in answered[0].iterdir()) == sorted(f"{name}.csv" for name in kinds[1])
    for name in kinds[1]:
        path = answered[0] / f"{name}.csv"
        assert len(path.read_text().splitlines()) == 4
        assert path.read_text().splitlines()[0] == f"#{printable(name)}"
        output = read_output(path)
        assert len(output.scores) == 24 and any(output.labels)


def test_the_list_of_problems_and_the_summary_agree(
    model: Model, kinds: tuple[Path, dict[str, Kind]], answered: tuple[Path, Path, str]
) -> None:
    outputs, problems, printed = answered
    with problems.open(newline="") as file:
        head, *rows = list(csv.reader(file))
    assert head == ["name", "reason"]
    found = {name: outcome(scored) for name, scored in each(model, kinds[0])}
    assert rows == [[printable(name), text[7:]] for name, text in sorted(found.items()) if text.startswith("prior")]
    assert f"{len(kinds[1])} recordings scored, {len(rows)} of them could not be used" in printed
    for kind, count in Counter(reason_kind(reason) for _, reason in rows).items():
        assert f"  not usable: {count}, {kind}\n" in printed
    for repair in {*REPAIRS, *SIGNAL_REPAIRS} - {"segments"}:
        count = sum(f"`{repair}`" in text for text in found.values())
        assert f"  repaired: {count}, {repair}\n" in printed
    for name, _ in rows:
        assert name in printed
        if name.isascii() and "?" not in name:
            assert list(read_output(outputs / f"{name}.csv").scores) == pytest.approx(PRIOR.scores[0])


def each(model: Model, folder: Path) -> list[tuple[str, Prediction]]:
    records = find_records(folder)
    return [(path.name, next(scoring.score_files(model, [Path(f"{path}.hea")]))) for path in records]


def test_a_good_recording_gets_the_same_answer_among_bad_ones(
    model: Model, kinds: tuple[Path, dict[str, Kind]], answered: tuple[Path, Path, str]
) -> None:
    alone = score_arrays(model, TEXT, GOOD)
    assert alone.error is None
    among = read_output(answered[0] / "X1000.csv")
    np.testing.assert_allclose(among.scores, alone.scores, atol=1e-6)


def test_strict_stops_at_the_first_unusable_recording_with_one_line(
    model_folder: Path, kinds: tuple[Path, dict[str, Kind]], tmp_path: Path
) -> None:
    first = next(name for name, kind in kinds[1].items() if kind.title == "header without a signal")
    data = tmp_path / "data"
    data.mkdir()
    for path in kinds[0].glob("X100[0-4].*"):
        (data / path.name).symlink_to(path)
    listed = tmp_path / "problems.csv"
    done = driver(model_folder, data, tmp_path / "out", "--strict", "--problems", listed, status=1)
    assert re.fullmatch(rf"driver.py: .*{first}.mat: there is no such signal file \(--strict .*\)\n", done.stderr)
    assert sorted(path.stem for path in (tmp_path / "out").iterdir()) == ["X1000", "X1001"]
    assert listed.read_text() == f"name,reason\n{first},there is no such signal file\n"


def test_strict_changes_nothing_if_all_recordings_can_be_used(
    model_folder: Path, kinds: tuple[Path, dict[str, Kind]], tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    for path in kinds[0].glob("X100[01].*"):
        (tmp_path / "data" / path.name).symlink_to(path)
    driver(model_folder, tmp_path / "data", tmp_path / "out", "--strict", "--problems", tmp_path / "problems.csv")
    assert (tmp_path / "problems.csv").read_text() == "name,reason\n"


def test_a_list_that_cannot_be_written_is_reported_before_anything_is_scored(
    model: Model, kinds: tuple[Path, dict[str, Kind]], tmp_path: Path
) -> None:
    with pytest.raises(OSError, match="No such file"):
        score_folder(model, kinds[0], tmp_path / "out", DriverOptions(problems=tmp_path / "nowhere" / "problems.csv"))
    assert not list((tmp_path / "out").iterdir())


# --- Arguments of the organisers' drivers


@pytest.mark.parametrize(
    "data",
    [
        None,
        "ECG",
        [],
        [[]],
        [[1, 2], [3]],
        {},
        5,
        np.array(5),
        np.zeros((12, 0)),
        np.zeros((12, 600)),
        np.full((12, 600), np.nan),
        np.full((12, 600), np.inf),
        np.zeros((12, 20, 30)),
        np.array([["a"] * 600] * 12),
        np.array([[None] * 600] * 12),
        GOOD + 1j,
        GOOD[:5],
        GOOD > 0,
        object(),
    ],
    ids=lambda data: type(data).__name__,
)
def test_unusable_data_of_a_driver_gets_the_prior(model: Model, data: Any) -> None:
    answer = score_arrays(model, TEXT.splitlines(keepends=True), data)
    assert answer.error and answer.reason
    np.testing.assert_array_equal(answer.scores, PRIOR.scores[0])
    np.testing.assert_array_equal(answer.labels, PRIOR.labels[0])


@pytest.mark.parametrize("header", [None, "", [], [""], 5, [5], {}, "twelve leads", b"\xff\xfe", [None] * 13], ids=repr)
def test_an_unusable_header_of_a_driver_gets_the_prior(model: Model, header: Any) -> None:
    answer = score_arrays(model, header, GOOD)
    assert answer.error and answer.reason
    np.testing.assert_array_equal(answer.labels, PRIOR.labels[0])


# --- Real recordings of poor quality, and training


def test_all_phone_recordings_get_an_answer(model: Model, shared_folder: Path, tmp_path: Path) -> None:
    unpack, pack = shared_folder / "data" / "unpack.py", shared_folder / "data" / "quality"
    subprocess.run([sys.executable, unpack, pack, tmp_path / "data"], check=True, capture_output=True)
    summary = score_folder(model, tmp_path / "data", tmp_path / "out")
    assert summary.recordings == len(list((tmp_path / "out").iterdir())) == 200
    assert {reason for _, reason in summary.unusable} == {"is flat in every lead"}
    with (pack / "index.csv").open(newline="") as file:
        quality = {row["record"]: row["quality"] for row in csv.DictReader(file)}
    assert {quality[name] for name, _ in summary.unusable} == {"unacceptable"}


def test_training_leaves_unusable_recordings_out_with_the_same_reasons(
    kinds: tuple[Path, dict[str, Kind]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    titles = ("a good recording", "zeros in every lead", "signal file cut off in the middle", "signal without a header")
    for name, kind in kinds[1].items():
        if kind.title in titles:
            kind.write(tmp_path, name)
    caplog.set_level(logging.INFO, "leadwise")
    dataset = prepare_dataset(tmp_path, tmp_path / "work", SignalRecipe())
    assert dataset.names == ("X1000",)
    assert sorted(dataset.left_out.values()) == ["is cut off: 7212 of 14424 bytes", "is flat in every lead"]
    assert "left out: 1, is cut off: ... of ... bytes" in caplog.text
