"""One reader for files of any format, told by their content; folders with several formats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import leadwise
from leadwise.challenge.outputs import read_output
from leadwise.ecg.discovery import find_ecgs
from leadwise.ecg.reading import read_ecg
from leadwise.ecg.recording import read_recording
from leadwise.ecg.repairs import RecordingError
from leadwise.model.ensemble import load_model
from leadwise.model.scoring import score_folder
from tests.conftest import LEADS
from tests.ecg.recordings import same
from tests.model.models import write_model


def write_csv(path: Path, counts: np.ndarray, frequency: float = 500) -> Path:
    """Write a table of mV with a column of seconds."""
    table = np.column_stack([np.arange(counts.shape[1]) / frequency, counts.T / 1000])
    rows = [",".join(["time", *LEADS]), *(",".join(f"{value:.6g}" for value in row) for row in table)]
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.mark.parametrize("name", ["ecg.csv", "ecg.txt", "ecg", "ecg.dat", "ecg.mat"])
def test_the_content_of_a_file_decides_its_format(tmp_path: Path, counts: np.ndarray, name: str) -> None:
    recording = read_ecg(write_csv(tmp_path / name, counts))
    np.testing.assert_allclose(recording.counts / recording.adc_gain[:, None], counts / 1000, atol=1e-6)
    assert (recording.lead_names, recording.sampling_frequency, recording.name) == (LEADS, 500, "ecg")


def test_a_wfdb_record_is_read_as_before(write_record: Callable[..., Path]) -> None:
    path = write_record()
    for given in (path, f"{path}.hea", f"{path}.mat", Path(f"{path}.mat")):
        assert same(read_ecg(given), read_recording(path))


def test_a_sampling_frequency_is_used_where_the_file_has_none(tmp_path: Path, counts: np.ndarray) -> None:
    np.save(tmp_path / "ecg.npy", counts / 1000)
    assert read_ecg(tmp_path / "ecg.npy", 250).sampling_frequency == 250
    with pytest.raises(RecordingError, match="sampling frequency"):
        read_ecg(tmp_path / "ecg.npy")
    assert read_ecg(write_csv(tmp_path / "ecg.csv", counts), 250).sampling_frequency == 500


@pytest.mark.parametrize("content", [b"", b"%PDF-1.7 not an ECG", b"\x89PNG\r\n"])
def test_other_files_are_refused_with_the_reason(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ecg.pdf").write_bytes(content)
    with pytest.raises(RecordingError, match="is empty" if not content else "in no format that is read") as caught:
        read_ecg(tmp_path / "ecg.pdf")
    assert caught.value.source == str(tmp_path / "ecg.pdf")
    with pytest.raises(RecordingError, match="there is no such header"):
        read_ecg(tmp_path / "nowhere")


def test_a_folder_may_have_several_formats(
    tmp_path: Path, counts: np.ndarray, write_record: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    write_record("A0001")
    (tmp_path / "sub").mkdir()
    write_csv(tmp_path / "sub" / "B1.csv", counts)
    (tmp_path / "sub" / "notes.pdf").write_bytes(b"%PDF")
    (tmp_path / "list.csv").write_text("name,value\nx,1\n")
    assert find_ecgs(tmp_path) == [tmp_path / "A0001.hea", tmp_path / "sub" / "B1.csv"]
    write_model(tmp_path.parent / f"{tmp_path.name}-model")
    model, output = load_model(tmp_path.parent / f"{tmp_path.name}-model"), tmp_path.parent / f"{tmp_path.name}-out"
    with caplog.at_level("INFO", "leadwise"):
        assert score_folder(model, tmp_path, output).recordings == 2
    assert "not read: 1 file .csv (list.csv), 1 file .pdf (sub/notes.pdf)" in caplog.text
    assert {path.name for path in output.iterdir()} == {"A0001.csv", "B1.csv"}
    classifier = leadwise.Classifier(model, tmp_path)
    expected = classifier.predict(tmp_path / "sub" / "B1.csv").probabilities
    np.testing.assert_allclose(read_output(output / "B1.csv").scores, expected, atol=1e-6)
    write_csv(tmp_path / "B1.txt", counts)
    with pytest.raises(ValueError, match="two recordings are named B1"):
        find_ecgs(tmp_path)


def test_one_ecg_in_three_formats_is_answered_alike(shared_folder: Path) -> None:
    pytest.importorskip("ecgdatakit", reason="the extra formats is not installed")
    pytest.importorskip("pydicom", reason="the extra formats is not installed")
    folder = shared_folder / "data" / "formats"
    results = leadwise.load(threads=1).predict([folder / n for n in ("hl7_aecg.xml", "scp_ecg.scp", "dicom.dcm")])
    assert not any(result.error for result in results)
    probabilities = np.stack([result.probabilities for result in results])
    assert np.ptp(probabilities, axis=0).max() <= 0.02
