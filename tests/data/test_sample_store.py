"""The long array of signals: whatever was foreseen, each signal is found where it is said to begin."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from leadwise.data.sample_store import ROW, SampleStore, SampleWriter

CHUNKS = st.lists(st.tuples(st.integers(0, 30), st.lists(st.integers(1, 12), max_size=5)), min_size=1, max_size=5)


@given(CHUNKS, st.randoms())
def test_signals_of_rooms_filled_in_any_order_against_a_plain_list(chunks: list[tuple[int, list[int]]], order) -> None:
    with TemporaryDirectory() as folder, Path(folder, "store").open("w+b") as file:
        store = SampleStore(file)
        segments = [store.segment(rows) for rows, _ in chunks]
        signals, starts = {}, {}  # by room and place
        for number in order.sample(range(len(chunks)), len(chunks)):
            with segments[number].opened() as writer:
                for key in ((number, place) for place in range(len(chunks[number][1]))):
                    signals[key] = np.full((chunks[number][1][key[1]], 12), len(signals) + 1, np.float32)
                    starts[key] = writer.put(signals[key].data)
        for number, (rows, lengths) in enumerate(chunks):
            assert segments[number].overflow.exists() == (sum(lengths) > rows)
            overflow = [key for key, start in starts.items() if key[0] == number and start < 0]
            starts |= {key: starts[key] - store.overflow_rows for key in overflow}
            store.record_overflow(segments[number], sum(len(signals[key]) for key in overflow))
        store.append_overflow()
        file.flush()
        content = Path(file.name).read_bytes()
        for key, signal in signals.items():
            start = starts[key] if starts[key] >= 0 else store.rows - 1 - starts[key]
            assert content[start * ROW :][: signal.nbytes] == signal.tobytes()
        assert [path.name for path in Path(folder).iterdir()] == ["store"]


def test_one_process_leaves_no_gaps(tmp_path: Path) -> None:
    with (tmp_path / "store").open("wb") as file:
        writer = SampleWriter(file)
        assert [writer.put(np.ones((length, 12), np.float32).data) for length in (3, 1, 2)] == [0, 3, 4]
    assert (tmp_path / "store").stat().st_size == 6 * ROW
