"""What fills a recording up is cut out; what was recorded stays, bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from leadwise.ecg.discovery import find_records
from leadwise.ecg.padding import MIN_GAP, MIN_PADDING, recorded_samples
from leadwise.ecg.recording import read_recording, recording_from_arrays
from tests.conftest import header_text
from tests.ecg.recordings import make_recording, names, random_counts

ECG = random_counts(12, 1500)  # 3 s at 500 Hz


def naive(counts: NDArray[np.generic], frequency: float) -> NDArray[np.bool_]:
    """Look at every sample and every run."""
    samples, kept = counts.shape[1], np.ones(counts.shape[1], bool)
    start = 0
    for end in range(1, samples + 1):
        if end < samples and np.array_equal(counts[:, end], counts[:, start], equal_nan=counts.dtype.kind == "f"):
            continue
        long = end - start >= max(3, round(MIN_GAP * frequency))
        column = counts[:, start].astype(float)
        common = np.isnan(column).all() or (column == column[0]).all()
        if long or (
            end - start >= max(2, round(MIN_PADDING * frequency)) and common and (start == 0 or end == samples)
        ):
            kept[start:end] = False
        start = end
    return kept if kept.any() else np.ones(samples, bool)


@pytest.mark.parametrize("value", [0, -32768, 7])
@pytest.mark.parametrize(("before", "after"), [(0, 1500), (700, 0), (26, 26), (400, 900)])
def test_padding_is_cut_off_with_a_named_repair(value: int, before: int, after: int) -> None:
    recording = make_recording(np.pad(ECG, ((0, 0), (before, after)), constant_values=value))
    assert np.array_equal(recording.counts, ECG)
    assert [(each.name, each.detail) for each in recording.repairs] == [
        ("padding", f"{before + after} of {before + after + 1500} samples")
    ]


def test_padding_of_millivolts_nan_and_held_samples_is_cut_off() -> None:
    for mode, more in (("constant", {"constant_values": np.nan}), ("constant", {"constant_values": 0.0})):
        padded = np.pad(ECG / 8, ((0, 0), (300, 500)), mode, **more)  # type: ignore[call-overload]
        assert np.array_equal(make_recording(padded).counts, ECG / 8)
    held = make_recording(np.pad(ECG, ((0, 0), (300, 500)), "edge"))
    assert np.array_equal(held.counts, ECG[:, 1:-1])  # the samples that are held cannot be told from the padding


def test_gaps_in_all_leads_are_cut_out_and_gaps_in_some_are_kept() -> None:
    gap = np.concatenate([ECG[:, :700], np.zeros((12, 200), np.int16), ECG[:, 700:]], axis=1)
    assert np.array_equal(make_recording(gap).counts, ECG)
    gap[3, 700:900] = ECG[3, :200]
    assert np.array_equal(make_recording(gap).counts, gap)


def test_flat_leads_do_not_hide_padding() -> None:
    flat = ECG.copy()
    flat[[4, 7]] = 100
    assert np.array_equal(make_recording(np.pad(flat, ((0, 0), (0, 600)), "edge")).counts[0], flat[0, :-1])


def test_what_was_recorded_is_left_as_it_is() -> None:
    for counts in (ECG, ECG[:, :1], np.zeros((12, 900), np.int16), np.pad(ECG, ((0, 0), (0, 20)), "edge")):
        assert recorded_samples(counts, 500) is None
        assert not make_recording(counts).repairs


@given(
    runs=st.lists(st.tuples(st.sampled_from([None, 0, 5]), st.integers(1, 12)), min_size=1, max_size=8),
    frequency=st.sampled_from([20.0, 30.0, 41.0]),
    dtype=st.sampled_from([np.int16, np.float64]),
    seed=st.integers(0, 9),
)
def test_the_result_equals_that_of_a_look_at_every_sample(
    runs: list[tuple[int | None, int]], frequency: float, dtype: type, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    pieces = [rng.integers(0, 2, (3, n)) * 9 if kind is None else np.full((3, n), kind) for kind, n in runs]
    counts = np.concatenate(pieces, axis=1).astype(dtype)
    if dtype == np.float64:
        counts[counts == 5] = np.nan
    found = recorded_samples(counts, frequency)
    assert np.array_equal(np.ones(counts.shape[1], bool) if found is None else found, naive(counts, frequency))


def test_files_and_arrays_are_cut_alike(tmp_path: Path) -> None:
    import scipy.io

    padded = np.pad(ECG, ((0, 0), (0, 900)))
    (tmp_path / "A1.hea").write_text(header_text("A1", padded))
    scipy.io.savemat(tmp_path / "A1.mat", {"val": padded}, format="4")
    from_file = read_recording(tmp_path / "A1")
    from_array = recording_from_arrays(header_text("A1", padded), padded.astype(float))
    assert np.array_equal(from_file.counts, from_array.counts) and from_file.repairs == from_array.repairs
    assert names(from_file.repairs) == ["padding"]


def test_no_real_recording_is_cut(shared_folder: Path) -> None:
    for record in find_records(shared_folder / "data" / "challenge"):
        assert "padding" not in names(read_recording(record).repairs)
