"""Tests of telling a format by its content."""

import os
from pathlib import Path

import numpy as np
import pytest

from leadwise.ecg.formats.detection import FORMATS, other_format
from tests.conftest import header_text, v4_matrix
from tests.ecg.formats import files
from tests.ecg.recordings import saved


def written(folder: Path, raw: bytes, name: str = "ecg.mat") -> Path:
    path = folder / name
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize("name", files.EXAMPLES)
def test_the_content_tells_the_format_whatever_the_name(name: str, tmp_path: Path) -> None:
    if name == "DICOM":
        pytest.importorskip("pydicom")
    raw = files.EXAMPLES[name][0]()
    assert other_format(written(tmp_path, raw)) == name
    assert other_format(str(written(tmp_path, raw, "ecg"))) == name


def test_there_is_an_example_of_every_format() -> None:
    assert set(files.EXAMPLES) == set(FORMATS)


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<restingecgdata xmlns='x'>", "Philips XML"),
        ("\ufeff<?xml version='1.0' encoding='utf-16'?><restingecgdata>".encode("utf-16-le"), "Philips XML"),
        ("\ufeff<restingecgdata>".encode("utf-16-be"), "Philips XML"),
        (b"<!-- <RestingECG> --><h:AnnotatedECG xmlns:h='urn:hl7-org:v3'>", "HL7 aECG"),
        (b"<?xml version='1.0'?>\r\n<!DOCTYPE RestingECG SYSTEM 'restecg.dtd'>\r\n<RestingECG>", "GE MUSE XML"),
        (b"<html><body>AnnotatedECG</body></html>", None),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><RestingECG/></svg>", None),
        (b"\x01\x01\x01\x02\x03\x01\x00\x00\x05\x01\x0c\x0a\x01\x00", "MFER"),
        (b"\x01\x01\x01\x7f\x03\x01\x00\x00", None),
        (b"I;II\n0,25;0,5\n", "CSV"),
        (b"time (ms)\tlead I\n0\t-1.5e-3\n", "CSV"),
        (b'"","MDC_ECG_LEAD_V1"\n0,\n', "CSV"),
        (b"AUROC,AUPRC,Accuracy\n0.958,0.531,0.485\n", None),
        (b"name,reason\nA0001,is flat in every lead\n", None),
        (b"#A0001\n270492004,164889003\n0,1\n0.1,0.9\n", None),
        (b"I,II\n", None),
        (b"0       hello" + b" " * 300, None),
        (b"PK\x03\x04" + bytes(22) + b"\x05\0\0\0a.txt", None),
        (b"", None),
    ],
)
def test_the_first_bytes_decide(start: bytes, name: str | None, tmp_path: Path) -> None:
    assert other_format(written(tmp_path, start)) == name


def test_wfdb_and_matlab_files_are_none_of_these(tmp_path: Path, counts: np.ndarray) -> None:
    others = [header_text("A0001", counts).encode(), v4_matrix(counts), saved(val=counts), counts.tobytes()]
    assert [other_format(written(tmp_path, raw)) for raw in others] == [None] * 4


def test_what_is_no_regular_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # opening it would wait for ever
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "missing", "/dev/zero", "a\0b"):
        assert other_format(path) is None
