"""Recordings are scored in order, alike in batches and alone, and an unusable one gets the training prior."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from leadwise.challenge.classes import CODES
from leadwise.challenge.outputs import read_output
from leadwise.decision.rules import Predictions
from leadwise.ecg.quality import QualityWarning
from leadwise.ecg.reading import read_ecg
from leadwise.ecg.recording import Recording, read_recording
from leadwise.model import scoring
from leadwise.model.ensemble import Model, load_model
from leadwise.model.scoring import UnusableRecordingError, score_arrays, score_files, score_folder
from leadwise.options import DriverOptions
from leadwise.util.files import PARTIAL
from tests.bad_input import GOOD, TEXT
from tests.data.recordings import write
from tests.model.models import PRIOR, write_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("model")
    write_model(folder)
    return load_model(folder)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for k in range(7):
        write(tmp_path / "data", f"A000{k}", CODES[k], samples=700 + 300 * k, seed=k)
    (tmp_path / "data" / "A0003.mat").write_bytes(b"no matrix")
    return tmp_path / "data"


@pytest.mark.parametrize(("batch", "jobs"), [(1, 1), (1, 3), (2, 2), (3, 1), (64, 2)])
def test_batches_and_threads_change_neither_order_nor_scores(model: Model, data: Path, batch: int, jobs: int) -> None:
    paths = sorted(data.glob("*.hea"))
    predictions = list(score_files(model, iter(paths), batch, jobs))
    assert [prediction.name for prediction in predictions if not prediction.error] == [
        path.stem for path in paths if path.stem != "A0003"
    ]
    assert [k for k, prediction in enumerate(predictions) if prediction.error] == [3]
    for path, prediction in zip(paths, predictions, strict=True):
        if not prediction.error:
            alone = score_arrays(model, path.read_text(), read_recording(path).counts)
            np.testing.assert_allclose(prediction.scores, alone.scores, atol=1e-5)
            np.testing.assert_array_equal(prediction.labels, alone.labels)


def test_no_recording_gives_no_prediction(model: Model) -> None:
    assert list(score_files(model, [])) == []


def test_only_two_batches_are_read_ahead(model: Model, data: Path) -> None:
    taken = []

    def paths() -> Any:
        for path in [*data.glob("*.hea")] * 3:
            taken.append(path)
            yield path

    predictions = score_files(model, paths(), batch=2)
    next(predictions)
    assert len(taken) == 6  # the batch that was scored, and two more
    next(predictions)
    assert len(taken) == 6
    predictions.close()


def test_every_recording_has_an_output_and_a_strict_run_stops(model: Model, data: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / f".A0001.csv{PARTIAL}x").touch()  # of a run that was killed
    summary = score_folder(model, data, tmp_path / "out", DriverOptions(batch_size=2, problems=tmp_path / "list.csv"))
    assert (summary.recordings, [name for name, _ in summary.unusable]) == (7, ["A0003"])
    assert sorted(path.stem for path in (tmp_path / "out").iterdir()) == [f"A000{k}" for k in range(7)]
    assert list(read_output(tmp_path / "out" / "A0003.csv").scores) == PRIOR.scores[0].tolist()
    with pytest.raises(UnusableRecordingError, match=r"A0003.*--strict stops"):
        score_folder(model, data, tmp_path / "strict", DriverOptions(strict=True, problems=tmp_path / "strict.csv"))
    assert sorted(path.stem for path in (tmp_path / "strict").iterdir()) == ["A0000", "A0001", "A0002"]
    assert (tmp_path / "strict.csv").read_text() == (tmp_path / "list.csv").read_text()


def test_an_unexpected_error_of_one_recording_does_not_end_the_run(
    model: Model, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, *options: Any) -> Any:
        if path.stem == "A0001":
            raise ZeroDivisionError("a bug")
        return read_ecg(path, *options)

    (data / "A0003.hea").unlink()
    (data / "A0003.mat").unlink()
    monkeypatch.setattr(scoring, "read_ecg", fail)
    summary = score_folder(model, data, tmp_path / "out")
    reason = "unexpected error while reading: ZeroDivisionError: 'a bug'"
    assert summary.recordings == 6 and summary.unusable == [("A0001", reason)]


def test_probabilities_that_are_no_numbers_are_never_written(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def overflow(self: Model, signals: Any, features: Any, acquisitions: Any) -> Predictions:
        return Predictions(np.zeros((len(signals), 24), bool), np.full((len(signals), 24), np.nan))

    monkeypatch.setattr(Model, "predict", overflow)
    prediction = score_arrays(model, TEXT, GOOD)
    assert prediction.reason == "values too large: the networks return no probability"
    np.testing.assert_array_equal(prediction.scores, PRIOR.scores[0])


def test_a_file_s_name_is_no_formula_in_the_list(model: Model, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "=cmd|' !A1.hea").write_bytes(b"")
    score_folder(model, tmp_path / "data", tmp_path / "out", DriverOptions(problems=tmp_path / "problems.csv"))
    assert (tmp_path / "problems.csv").read_text() == "name,reason\n'=cmd|' !A1,the header is empty\n"
    assert (tmp_path / "out" / "=cmd|' !A1.csv").read_text().startswith("#=cmd|' !A1\n")


def test_quality_warnings_come_if_they_are_requested_and_change_no_answer(
    model: Model, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(recording: Recording) -> tuple[QualityWarning, ...]:
        if recording.name == "A0001":
            raise ZeroDivisionError("a bug")
        return (QualityWarning("noisy", ("I", "II")),) * (recording.counts.shape[1] > 1400)

    monkeypatch.setattr(scoring, "quality_warnings", check)
    paths = sorted(data.glob("*.hea"))
    plain, checked = list(score_files(model, paths)), list(score_files(model, paths, jobs=2, quality=True))
    for path, one, other in zip(paths, plain, checked, strict=True):
        assert one.warnings == () and np.array_equal(one.scores, other.scores) and str(one.error) == str(other.error)
        if not one.error:
            assert score_arrays(model, path.read_text(), read_recording(path).counts).warnings == ()
    assert [len(prediction.warnings) for prediction in checked] == [0, 0, 0, 0, 1, 1, 1]
    assert "  quality: 3, noisy" in score_folder(model, data, tmp_path / "out", DriverOptions(quality=True)).lines()
    assert not score_folder(model, data, tmp_path / "out").warnings


def test_files_that_are_not_read_are_named(
    model: Model, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (data / "ecg.xml").touch()
    with caplog.at_level("INFO", "leadwise"):
        score_folder(model, data, tmp_path / "out")
    assert "not read: 1 file .xml (ecg.xml)" in caplog.text
