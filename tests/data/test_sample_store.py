"""Signals of several writers are found in the store where their places say."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from leadwise.data.sample_store import ROW, Place, SampleStore, SampleWriter

CHUNKS = st.lists(st.tuples(st.integers(0, 30), st.lists(st.integers(1, 12), max_size=5)), min_size=1, max_size=5)


@given(CHUNKS, st.randoms())
def test_signals_are_found_whatever_the_estimates_and_the_order_of_writing(
    chunks: list[tuple[int, list[int]]], order
) -> None:
    """Against a dictionary of all signals."""
    with TemporaryDirectory() as folder, Path(folder, "store").open("w+b") as file:
        store = SampleStore(file)
        segments = [store.reserve(rows) for rows, _ in chunks]
        signals, places = {}, {}  # by segment and number in it
        for number in order.sample(range(len(chunks)), len(chunks)):
            with segments[number].opened() as put:
                for key in ((number, place) for place in range(len(chunks[number][1]))):
                    signals[key] = np.full((chunks[number][1][key[1]], 12), len(signals) + 1, np.float32)
                    places[key] = put(signals[key].data)
        for number, (rows, lengths) in enumerate(chunks):
            assert segments[number].overflow.exists() == (sum(lengths) > rows)
        store.append_overflow()
        file.flush()
        content = Path(file.name).read_bytes()
        for key, signal in signals.items():
            assert content[store.row(places[key]) * ROW :][: signal.nbytes] == signal.tobytes()
        assert [path.name for path in Path(folder).iterdir()] == ["store"]


def test_a_signal_that_does_not_fit_is_placed_in_the_overflow_of_its_segment(tmp_path: Path) -> None:
    with (tmp_path / "store").open("w+b") as file:
        store = SampleStore(file)
        store.reserve(2)
        with store.reserve(3).opened() as put:
            places = [put(np.ones((length, 12), np.float32).data) for length in (2, 2, 1, 1)]
        assert places == [Place(2), Place(0, overflow=1), Place(4), Place(2, overflow=1)]
        store.append_overflow()
        assert [store.row(place) for place in places] == [2, 5, 4, 7]


def test_one_process_leaves_no_gaps(tmp_path: Path) -> None:
    with (tmp_path / "store").open("wb") as file:
        writer = SampleWriter(file)
        assert [writer.put(np.ones((length, 12), np.float32).data) for length in (3, 1, 2)] == [
            Place(0),
            Place(3),
            Place(4),
        ]
    assert (tmp_path / "store").stat().st_size == 6 * ROW
