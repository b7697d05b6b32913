"""Each repair of a file is named and does not change the signal; errors can be pickled, reasons counted."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from leadwise.ecg.header import parse_header
from leadwise.ecg.recording import read_recording
from leadwise.ecg.repairs import REPAIRS, RecordingError, Repair, RepairLog, quote, reason_kind
from tests.conftest import header_text, v4_matrix
from tests.ecg.recordings import names, saved


def padded(matrix):
    return np.pad(np.frombuffer(matrix, "<i2", offset=24).reshape(-1, 12).T, ((0, 0), (0, 40)))


def changed(old, new, times=-1):
    def change(header, matrix):
        assert old in header
        return header.replace(old, new, times), matrix

    return change


REPAIRED = {
    "wrong-gain": lambda h, m: (h.replace("A0001", "E0001").replace("1000/mV", "4880/mV"), m),
    "default-gain": changed("1000/mV", "0/mV"),
    "gains-differ": changed("1000/mV", "1009/mV", 1),
    "default-frequency": changed("12 500 500 12-May-2020 12:33:59", "12"),
    "unusual-frequency": changed("12 500 500", "12 400 500"),
    "unknown-unit": changed("1000/mV", "1000/mmHg", 1),
    "lead-count": changed("A0001 12 ", "A0001 13 "),
    "extra-lines": changed("#Age", "Age"),
    "unnamed-leads": changed(" 0 aVR\n", " 0\n"),
    "names-differ": changed("A0001.mat", "A0002.mat", 1),
    "unreadable-field": changed(" 500 12-May-2020", " 5OO 12-May-2020"),
    "unreadable-age": changed("Age: 74", "Age: x4"),
    "unreadable-sex": changed("Sex: Male", "Sex: Mole"),
    "repeated-comment": changed("#Sex", "#Age: 75\n#Sex"),
    "renamed": lambda h, m: (h.replace("A0001", "A0002"), m),
    "lead-unreadable": changed("1000/mV", "much/mV", 1),
    "impossible-gain": changed("1000/mV", "1e99/mV", 1),
    "structure": lambda h, m: (h, saved(ECG={"data": np.frombuffer(m, "<i2", offset=24).reshape(-1, 12).T})),
    "padding": lambda h, m: (h.replace(" 500 12-May", " 540 12-May"), v4_matrix(padded(m))),
    "variable-name": lambda h, m: (h, m.replace(b"val\0", b"ecg\0", 1)),
    "transposed": lambda h, m: (h, v4_matrix(np.frombuffer(m, "<i2", offset=24).reshape(-1, 12))),
    "length-differs": changed(" 500 12-May-2020", " 501 12-May-2020"),
    "checksum-differs": lambda h, m: (h, m[:-1] + bytes([m[-1] ^ 1])),
}


@pytest.mark.parametrize("name", [name for name in REPAIRS if name in REPAIRED])
def test_each_repair_is_named_and_the_signal_is_unchanged(write_record, counts, name):
    header, matrix = REPAIRED[name](header_text("A0001", counts), v4_matrix(counts))
    recording = read_recording(write_record("E0001" if name == "wrong-gain" else "A0001", header, matrix))
    assert names(recording.repairs) == [name]
    assert recording.repairs[0].detail
    assert recording.counts.shape == counts.shape
    if name != "checksum-differs":
        np.testing.assert_array_equal(recording.counts, counts)
    if name == "default-frequency":
        assert recording.sampling_frequency == 250.0


def test_equal_repairs_of_several_leads_are_one_repair():
    header = parse_header("X1 2 500\nX1.mat 16+24 0/mV 16 0 1 2 0 I\nX1.mat 16+24 0/mV 16 0 1 2 0 II\n")
    assert header.repairs == (Repair("default-gain", "200 counts per mV"),)


def test_errors_survive_pickling():
    error = pickle.loads(pickle.dumps(RecordingError("A0001.hea", "is empty")))
    assert (error.source, error.reason, str(error)) == ("A0001.hea", "is empty", "A0001.hea: is empty")


def test_text_from_a_file_is_quoted_up_to_sixty_characters() -> None:
    assert quote("a" * 60) == repr("a" * 60)
    assert quote("a" * 61) == repr("a" * 57 + "...")
    assert quote("V1\n\x1b[31m\u00e9") == r"'V1\n\x1b[31m\xe9'"


def test_each_distinct_detail_of_a_repair_is_listed_once() -> None:
    log = RepairLog()
    assert log.merged() == ()
    for name, detail in (("renamed", "b"), ("lead-count", "x"), ("renamed", "a"), ("renamed", "b")):
        log.add(name, detail)
    assert log.merged() == (Repair("renamed", "b, a"), Repair("lead-count", "x"))


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("is cut off: 7212 of 14424 bytes", "is cut off: ... of ... bytes"),
        ("has no lead of a standard name, only 'V 1' \"it's\"", "has no lead of a standard name, only ... ..."),
        ("sampling frequency 1e+06 is outside 20 to 20000 Hz", "sampling frequency ... is outside ... to ... Hz"),
        ("V1 is empty", "V1 is empty"),
    ],
)
def test_a_kind_of_reason_has_no_numbers_or_quoted_words(reason: str, kind: str) -> None:
    assert reason_kind(reason) == kind
