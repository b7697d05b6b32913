"""A data folder: what is prepared, what is left out, what is reused, and folds that are fair to every class."""

from __future__ import annotations

import dataclasses
import logging
import os
import re
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadwise.challenge.classes import CODES, label_vector
from leadwise.data import prepare as prepare_module
from leadwise.data.dataset import Dataset, is_whole
from leadwise.data.folds import assign_folds, patient_groups, stratify
from leadwise.data.prepare import NO_DIAGNOSIS, data_fingerprint, prepare_dataset
from leadwise.ecg.discovery import find_recordings
from leadwise.ecg.header import parse_header
from leadwise.ecg.preprocessing import demographics, prepare
from leadwise.ecg.recording import read_recording
from leadwise.recipes import PAPER, SignalRecipe
from tests.conftest import header_text, v4_matrix

SIGNAL = PAPER.signal


def write(folder: Path, name: str, dx: str = "426783006", samples: int = 400, seed: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    counts = np.random.default_rng(seed).integers(-900, 900, (12, samples)).astype(np.int16)
    header = header_text(name, counts, comments=(f"#Age: {40 + seed}", "#Sex: Female", f"#Dx: {dx}"))
    (folder / f"{name}.hea").write_text(header)
    (folder / f"{name}.mat").write_bytes(v4_matrix(counts))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    for index in range(40):  # more than one chunk
        write(data / f"g{index % 2}", f"A{index:04d}", CODES[index % 24], 300 + 7 * index, index)
    write(data, "HR00001", "59118001, 55827005,284470004")
    write(data, "E00001", "55827005")
    write(data, "._A0001")
    (data / "RECORDS").write_text("A0000\nA0001\n")
    (data / "E00004.mat").write_bytes(v4_matrix(np.ones((12, 400))))  # no header
    (data / "E00002.hea").write_text("nonsense")
    (data / "E00003.hea").write_text((data / "HR00001.hea").read_text().replace("HR00001", "E00003"))
    return data


def test_the_fingerprint_sees_every_file_of_a_recording_and_no_other(folder: Path) -> None:
    """Also where a name has dots, or what a pattern would take for a wild card."""
    write(folder, "A1.b")
    write(folder, "A[1]")
    seen = data_fingerprint(folder, SIGNAL)
    for name, counts in (("A1.b.mat", True), ("A[1].mat", True), ("E00001.atr", True), ("E00004.mat", False)):
        (folder / name).write_bytes(b"other")
        assert (data_fingerprint(folder, SIGNAL) != seen) == counts, name
        seen = data_fingerprint(folder, SIGNAL)
    (folder / "RECORDS").write_text("")  # belongs to none
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


def signals(dataset: Dataset) -> list[bytes]:
    return [
        dataset.samples[start : start + rows].tobytes()
        for start, rows in zip(dataset.starts, dataset.lengths, strict=True)
    ]


@pytest.mark.parametrize("limit, most", [(1, 2), (30_000, 5)])
def test_large_recordings_go_to_workers_in_small_chunks(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, most: int
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
    assert max(chunks) == most  # files of 7 to 14 kB; two headers in a row have none, so one part is longer


MISLEADING = {
    "far longer than foreseen": (r"(?<= 500 )\d+", "10"),
    "far shorter": (r"(?<= 500 )\d+", "20000"),
    "of unknown length": (r"(?<= 500) \d+", ""),
    "longer than a disk": (r"(?<= 500 )\d+", "9" * 15),
    "slower than any": (r" 500 ", " 1e-9 "),
    "left out, as it seems": (r"#Dx: (.*)", r"#Dx: \1\n#Dx: 1"),
    "kept, as it seems": (r"#Dx: (.*)", r"#Dx: 1\n#Rx: Dx: 426783006"),
}


@pytest.mark.parametrize("case", MISLEADING)
def test_headers_that_mislead_cost_nothing_but_time(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """What is longer than its header says does not run into the next; what is shorter is whole."""
    for path in find_recordings(folder)[::3]:
        path.write_text(re.sub(*MISLEADING[case], path.read_text(), count=1))
    expected = prepare_dataset(folder, tmp_path / "plain", SIGNAL)
    monkeypatch.setattr(prepare_module, "CHUNK", 4)
    found = prepare_dataset(folder, tmp_path / "rooms", SIGNAL, jobs=2)
    assert found.names == expected.names and len(found) > 20
    assert signals(found) == signals(expected)
    assert is_whole(tmp_path / "rooms" / "prepared")
    assert sorted(path.name for path in (tmp_path / "rooms" / "prepared").iterdir()) == [
        "arrays.npz", "recordings.json", "samples.f32",
    ]  # fmt: skip
    samples = tmp_path / "rooms" / "prepared" / "samples.f32"
    for row in (0, len(found) // 2, len(found) - 1):  # each place is looked after
        content = bytearray(samples.read_bytes())
        content[48 * int(found.starts[row]) + 7] ^= 1
        samples.write_bytes(content)
        assert not is_whole(tmp_path / "rooms" / "prepared")
        content[48 * int(found.starts[row]) + 7] ^= 1
        samples.write_bytes(content)
    samples.write_bytes(content + b"1")
    assert not is_whole(tmp_path / "rooms" / "prepared")


def test_recordings_are_found_below_and_hidden_ones_are_not(folder: Path) -> None:
    (folder / "g0" / "A0000.hea").rename(folder / "g0" / "A0000.HEA")
    write(folder / ".hidden", "A9999")
    names = [path.name for path in find_recordings(folder)]
    assert "A0000.HEA" in names and len(names) == 44
    assert not any("9999" in name or name.startswith(".") for name in names)


def test_the_folder_that_one_is_in(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = data_fingerprint(folder, SIGNAL)
    monkeypatch.chdir(folder)
    assert data_fingerprint(".", SIGNAL) == seen
    assert len(prepare_dataset(".", tmp_path / "work", SIGNAL)) == 41


def test_a_folder_without_recordings_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no recordings"):
        prepare_dataset(tmp_path, tmp_path / "work", SIGNAL)
    with pytest.raises(ValueError, match="not a folder"):
        prepare_dataset(tmp_path / "nowhere", tmp_path / "work", SIGNAL)


def is_reused(folder: Path, work: Path, recipe: SignalRecipe, caplog: pytest.LogCaptureFixture) -> bool:
    caplog.clear()
    with caplog.at_level(logging.INFO, "leadwise"):
        prepare_dataset(folder, work, recipe)
    return "reused" in caplog.text


def test_reused_when_nothing_changed_and_only_then(
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
    assert [path.name for path in work.iterdir()] == ["prepared"]  # nothing half-written beside it


@pytest.mark.parametrize(
    "damage", [lambda raw: raw[:-48], lambda raw: raw + b"0", lambda raw: b"", lambda raw: raw[48:] + raw[:48]]
)
def test_other_signals_than_those_that_were_prepared_are_noticed(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[bytes], bytes]
) -> None:
    expected = prepare_dataset(folder, tmp_path, SIGNAL).samples.copy()
    path = tmp_path / "prepared" / "samples.f32"
    path.write_bytes(damage(path.read_bytes()))
    assert not is_reused(folder, tmp_path, SIGNAL, caplog)
    assert "samples.f32 in" in caplog.text and "damaged" in caplog.text
    np.testing.assert_array_equal(prepare_dataset(folder, tmp_path, SIGNAL).samples, expected)


def test_the_data_folder_is_only_read(folder: Path, tmp_path: Path) -> None:
    before = sorted((str(path), path.stat().st_mtime_ns) for path in folder.rglob("*"))
    prepare_dataset(folder, tmp_path / "work", SIGNAL)
    assert sorted((str(path), path.stat().st_mtime_ns) for path in folder.rglob("*")) == before


def test_incart_recordings_of_one_patient_are_one_group() -> None:
    def header(name: str, age: str, sex: str) -> str:
        return f"{name} 1 257 100\n{name}.mat 16+24 1000/mV 16 0 0 0 0 I\n#Age: {age}\n#Sex: {sex}\n#Dx: 1\n"

    metadata = [
        ("I0001", "65", "F"),
        ("I0002", "65", "F"),
        ("I0003", "65", "M"),
        ("I0004", "65", "F"),
        ("A0001", "65", "F"),
    ]
    groups = patient_groups([parse_header(header(*fact)) for fact in metadata])
    assert groups == ("I0001", "I0001", "I0003", "I0004", "A0001")


def in_memory(labels: np.ndarray, sources: list[str], groups: list[str] | None = None) -> Dataset:
    n = len(labels)
    names = tuple(f"{source}{index}" for index, source in enumerate(sources))
    zeros = np.zeros(n, np.int64)
    return Dataset(
        names, tuple(sources), tuple(groups or names), np.zeros((0, 12), np.float32), zeros, zeros, labels,
        np.zeros_like(labels),        np.zeros((n, 5), np.float32), np.zeros((n, 3), np.float32), {}, {}, "",
    )  # fmt: skip


def test_folds_share_out_each_class_within_each_source() -> None:
    random = np.random.default_rng(3)
    labels = random.random((3000, 24)) < random.uniform(0.002, 0.3, 24)
    labels[~labels.any(1), 0] = True
    sources = random.choice(["A", "E", "HR"], 3000, p=[0.2, 0.3, 0.5]).tolist()
    folds = assign_folds(in_memory(labels, sources), 5, 2020)
    for source in ("A", "E", "HR"):
        members = np.array(sources) == source
        sizes = np.bincount(folds[members], minlength=5)
        assert np.ptp(sizes) <= 0.04 * members.sum()
        counts = np.array([labels[members & (folds == fold)].sum(0) for fold in range(5)])
        # as even as whole recordings allow, a little more for classes that come along with rarer ones
        assert (np.ptp(counts, axis=0) <= 2 + 0.1 * counts.sum(0)).all()


def test_folds_do_not_change_and_follow_the_seed() -> None:
    labels = np.random.default_rng(3).random((300, 24)) < 0.1
    dataset = in_memory(labels, ["A"] * 300)
    np.testing.assert_array_equal(assign_folds(dataset, 5, 2020), assign_folds(dataset, 5, 2020))
    assert (assign_folds(dataset, 5, 2020) != assign_folds(dataset, 5, 2021)).any()


@settings(max_examples=30)
@given(st.integers(2, 5), st.integers(10, 60), st.integers(0, 1000))
def test_patients_stay_whole_and_every_fold_gets_some(folds: int, n: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    labels = random.random((n, 24)) < 0.2
    groups = [f"patient {index // 2}" for index in range(n)]
    assigned = assign_folds(in_memory(labels, ["I"] * n, groups), folds, seed)
    assert set(assigned) == set(range(folds))
    for patient in set(groups):
        assert len({assigned[index] for index in range(n) if groups[index] == patient}) == 1


def test_stratify_shares_out_units_without_any_label() -> None:
    assigned = stratify(np.zeros((20, 24), np.int64), np.ones(20, np.int64), 4, np.random.default_rng(0))
    assert np.bincount(assigned).tolist() == [5, 5, 5, 5]


def test_too_few_recordings_for_the_folds_says_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"at least 10 recordings.*, 9 can be used.*fewer folds"):
        assign_folds(in_memory(np.ones((9, 24), bool), ["A"] * 9), 5, 0)
