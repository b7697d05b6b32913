"""Recordings are prepared alike by one and by several processes, left out for a reason, and reused if unchanged."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path

import joblib
import numpy as np
import pytest

from leadwise.challenge.classes import label_vector
from leadwise.data import prepare as prepare_module
from leadwise.data.dataset import NO_DIAGNOSIS, is_intact
from leadwise.data.prepare import data_fingerprint, prepare_dataset
from leadwise.ecg.discovery import find_recordings
from leadwise.ecg.preprocessing import demographics, prepare
from leadwise.ecg.recording import read_recording
from tests.data.recordings import SIGNAL, is_reused, signals, write


def test_the_fingerprint_depends_on_every_file_of_a_recording_and_on_no_other(folder: Path) -> None:
    """Also for names with dots, or with wild cards of a pattern."""
    write(folder, "A1.b")
    write(folder, "A[1]")
    seen = data_fingerprint(folder, SIGNAL)
    for name, counts in (("A1.b.mat", True), ("A[1].mat", True), ("E00001.atr", True), ("E00004.mat", False)):
        (folder / name).write_bytes(b"other")
        assert (data_fingerprint(folder, SIGNAL) != seen) == counts, name
        seen = data_fingerprint(folder, SIGNAL)
    (folder / "RECORDS").write_text("")  # belongs to no recording
    assert data_fingerprint(folder, SIGNAL) == seen


@pytest.mark.parametrize("jobs", [1, 2])
def test_prepared_recordings_are_those_of_the_files(folder: Path, tmp_path: Path, jobs: int) -> None:
    dataset = prepare_dataset(folder, tmp_path / "work", SIGNAL, jobs)
    assert len(dataset) == 41
    assert sorted(dataset.left_out) == ["E00001", "E00002", "E00003"]
    assert dataset.left_out["E00001"] == NO_DIAGNOSIS
    paths = {path.stem: path for path in find_recordings(folder)}
    for row, name in enumerate(dataset.names):
        recording = read_recording(paths[name])
        start, length = dataset.starts[row], dataset.lengths[row]
        expected = prepare(recording, SIGNAL).values
        np.testing.assert_array_equal(dataset.samples[start : start + length].T, expected)
        np.testing.assert_array_equal(dataset.labels[row], label_vector(recording.header.codes))
        np.testing.assert_array_equal(dataset.auxiliary_features[row], demographics(recording.header))
        assert dataset.sources[row] == recording.header.source
    assert dataset.starts[-1] + dataset.lengths[-1] == len(dataset.samples)
    assert dataset.samples.dtype == np.float32


@pytest.mark.parametrize("limit, largest", [(1, 2), (30_000, 5)])
def test_large_recordings_go_to_workers_in_small_chunks(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, largest: int
) -> None:
    expected = prepare_dataset(folder, tmp_path / "plain", SIGNAL)
    monkeypatch.setattr(prepare_module, "CHUNK_BYTES", limit)
    chunks: list[int] = []
    original = prepare_module._prepare_chunk

    def prepare_chunk(paths: list[str], *arguments: object) -> object:
        chunks.append(len(paths))
        return original(paths, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(prepare_module, "_prepare_chunk", prepare_chunk)
    with joblib.parallel_config(backend="threading"):  # which sees what is patched
        found = prepare_dataset(folder, tmp_path / "small", SIGNAL, jobs=2)
    assert signals(found) == signals(expected)
    assert found.names == expected.names and sum(chunks) == 44
    assert max(chunks) == largest  # files of 7 to 14 kB; two headers in a row have none, so one chunk is longer


WRONG_HEADERS = {
    "far longer than estimated": (r"(?<= 500 )\d+", "10"),
    "far shorter": (r"(?<= 500 )\d+", "20000"),
    "of unknown length": (r"(?<= 500) \d+", ""),
    "of more samples than a disk holds": (r"(?<= 500 )\d+", "9" * 15),
    "of an impossible frequency": (r" 500 ", " 1e-9 "),
    "apparently left out": (r"#Dx: (.*)", r"#Dx: \1\n#Dx: 1"),
    "apparently kept": (r"#Dx: (.*)", r"#Dx: 1\n#Rx: Dx: 426783006"),
}


@pytest.mark.parametrize("case", WRONG_HEADERS)
def test_wrong_headers_cost_nothing_but_time(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """A recording that is longer than its header says does not overwrite the next; a shorter one is complete."""
    for path in find_recordings(folder)[::3]:
        path.write_text(re.sub(*WRONG_HEADERS[case], path.read_text(), count=1))
    expected = prepare_dataset(folder, tmp_path / "plain", SIGNAL)
    monkeypatch.setattr(prepare_module, "CHUNK", 4)
    found = prepare_dataset(folder, tmp_path / "segments", SIGNAL, jobs=2)
    assert found.names == expected.names and len(found) > 20
    assert signals(found) == signals(expected)
    assert is_intact(tmp_path / "segments" / "prepared")
    assert sorted(path.name for path in (tmp_path / "segments" / "prepared").iterdir()) == [
        "arrays.npz", "recordings.json", "samples.f32",
    ]  # fmt: skip
    samples = tmp_path / "segments" / "prepared" / "samples.f32"
    for row in (0, len(found) // 2, len(found) - 1):  # at the start, in the middle, at the end
        content = bytearray(samples.read_bytes())
        content[48 * int(found.starts[row]) + 7] ^= 1
        samples.write_bytes(content)
        assert not is_intact(tmp_path / "segments" / "prepared")
        content[48 * int(found.starts[row]) + 7] ^= 1
        samples.write_bytes(content)
    samples.write_bytes(content + b"1")
    assert not is_intact(tmp_path / "segments" / "prepared")


def test_recordings_in_subfolders_are_found_and_hidden_ones_are_not(folder: Path) -> None:
    (folder / "g0" / "A0000.hea").rename(folder / "g0" / "A0000.HEA")
    write(folder / ".hidden", "A9999")
    names = [path.name for path in find_recordings(folder)]
    assert "A0000.HEA" in names and len(names) == 44
    assert not any("9999" in name or name.startswith(".") for name in names)


def test_the_current_folder_can_be_prepared(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = data_fingerprint(folder, SIGNAL)
    monkeypatch.chdir(folder)
    assert data_fingerprint(".", SIGNAL) == seen
    assert len(prepare_dataset(".", tmp_path / "work", SIGNAL)) == 41


def test_a_folder_without_recordings_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no recordings"):
        prepare_dataset(tmp_path, tmp_path / "work", SIGNAL)
    with pytest.raises(ValueError, match="not a folder"):
        prepare_dataset(tmp_path / "nowhere", tmp_path / "work", SIGNAL)


def test_a_folder_in_which_nothing_can_be_used_says_why(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / "data", f"A{number}", "AF" if number else "55827005")
    (tmp_path / "data" / "A3.hea").write_text("")
    for jobs in (1, 2):
        with pytest.raises(ValueError) as refused:
            prepare_dataset(tmp_path / "data", tmp_path / "work", SIGNAL, jobs)
        assert str(refused.value) == (
            f"no recording of {tmp_path / 'data'} can be used: 3 without a scored diagnosis (headers need #Dx with"
            " SNOMED CT codes), 1 not usable (the header is empty)"
        )
    assert not list((tmp_path / "work").iterdir())


def test_files_that_are_not_read_are_named(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "g0" / "ecg.xml").touch()
    for _ in range(2):  # also if the recordings are reused
        is_reused(folder, tmp_path / "work", SIGNAL, caplog)
        assert "not read: 1 file .mat (E00004.mat), 1 file .xml (g0/ecg.xml)" in caplog.text
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "ecg.xml").touch()
    with pytest.raises(ValueError, match=r"no recordings: .* \(not read: 1 file \.xml \(ecg\.xml\)\)"):
        prepare_dataset(tmp_path / "other", tmp_path / "work", SIGNAL)


def test_complete_left_bundle_branch_block_is_a_label(folder: Path, tmp_path: Path) -> None:
    write(folder, "JS00001", "733534002,164884008")
    found = prepare_dataset(folder, tmp_path / "work", SIGNAL, jobs=2)
    row = found.names.index("JS00001")
    np.testing.assert_array_equal(found.labels[row], label_vector(["164909002"]))
    np.testing.assert_array_equal(found.proxy_labels[row], label_vector(["427172004"]))


def test_recordings_behind_a_link_are_prepared_and_belong_to_the_fingerprint(folder: Path, tmp_path: Path) -> None:
    expected = prepare_dataset(folder, tmp_path / "work", SIGNAL)
    seen = data_fingerprint(folder, SIGNAL)
    (folder / "g1").rename(tmp_path / "site")
    (folder / "g1").symlink_to("../site")
    (tmp_path / "site" / "loop").symlink_to(".")
    assert data_fingerprint(folder, SIGNAL) == seen
    found = prepare_dataset(folder, tmp_path / "other", SIGNAL, jobs=2)
    assert found.names == expected.names and signals(found) == signals(expected)
    os.utime(tmp_path / "site" / "A0001.mat", ns=(1, 1))
    assert data_fingerprint(folder, SIGNAL) != seen


def test_links_to_nothing_and_names_that_are_no_text_are_left_out_by_name(folder: Path, tmp_path: Path) -> None:
    (folder / "E00005.hea").symlink_to("nowhere")
    odd = os.fsdecode(b"caf\xe9")
    (folder / f"{odd}.hea").write_text("")
    dataset = prepare_dataset(folder, tmp_path / "work", SIGNAL)
    assert len(dataset) == 41 and {"E00005", odd} <= set(dataset.left_out)
    assert is_intact(tmp_path / "work" / "prepared", data_fingerprint(folder, SIGNAL))
    (folder / "E00005.hea").unlink()
    (folder / "E00005.hea").symlink_to("HR00001.hea")
    assert not is_intact(tmp_path / "work" / "prepared", data_fingerprint(folder, SIGNAL))


def test_prepared_recordings_are_reused_only_if_nothing_changed(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    work = tmp_path / "work"
    assert not is_reused(folder, work, SIGNAL, caplog)
    assert is_reused(folder, work, SIGNAL, caplog)
    assert is_reused(folder, work, dataclasses.replace(SIGNAL, window=1000), caplog)  # windows are cut later
    assert not is_reused(folder, work, dataclasses.replace(SIGNAL, unit="mV"), caplog)
    assert not is_reused(folder, work, SIGNAL, caplog)
    os.utime(folder / "HR00001.mat", ns=(1, 1))
    assert not is_reused(folder, work, SIGNAL, caplog)
    write(folder, "HR00002")
    assert not is_reused(folder, work, SIGNAL, caplog)
    assert [path.name for path in work.iterdir()] == ["prepared"]  # no partial file beside it


def test_the_data_folder_is_only_read(folder: Path, tmp_path: Path) -> None:
    before = sorted((str(path), path.stat().st_mtime_ns) for path in folder.rglob("*"))
    prepare_dataset(folder, tmp_path / "work", SIGNAL)
    assert sorted((str(path), path.stat().st_mtime_ns) for path in folder.rglob("*")) == before
