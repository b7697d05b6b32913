"""The long array of signals: whatever was foreseen, each signal is found where it is said to begin."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from leadwise.data.sample_store import ROW, Store, Writer

CHUNKS = st.lists(st.tuples(st.integers(0, 30), st.lists(st.integers(1, 12), max_size=5)), min_size=1, max_size=5)


@given(CHUNKS, st.randoms())
def test_signals_of_rooms_filled_in_any_order_against_a_plain_list(chunks: list[tuple[int, list[int]]], order) -> None:
    with TemporaryDirectory() as folder, Path(folder, "store").open("w+b") as file:
        store = Store(file)
        rooms = [store.room(rows) for rows, _ in chunks]
        signals, starts = {}, {}  # by room and place
        for number in order.sample(range(len(chunks)), len(chunks)):
            with rooms[number].opened() as writer:
                for key in ((number, place) for place in range(len(chunks[number][1]))):
                    signals[key] = np.full((chunks[number][1][key[1]], 12), len(signals) + 1, np.float32)
                    starts[key] = writer.put(signals[key].data)
        for number, (rows, lengths) in enumerate(chunks):
            assert rooms[number].beside.exists() == (sum(lengths) > rows)
            beside = [key for key, start in starts.items() if key[0] == number and start < 0]
            starts |= {key: starts[key] - store.rows_beside for key in beside}
            store.note_beside(rooms[number], sum(len(signals[key]) for key in beside))
        store.move_behind()
        file.flush()
        content = Path(file.name).read_bytes()
        for key, signal in signals.items():
            start = starts[key] if starts[key] >= 0 else store.rows - 1 - starts[key]
            assert content[start * ROW :][: signal.nbytes] == signal.tobytes()
        assert [path.name for path in Path(folder).iterdir()] == ["store"]


def test_one_process_leaves_no_gaps(tmp_path: Path) -> None:
    with (tmp_path / "store").open("wb") as file:
        writer = Writer(file)
        assert [writer.put(np.ones((length, 12), np.float32).data) for length in (3, 1, 2)] == [0, 3, 4]
    assert (tmp_path / "store").stat().st_size == 6 * ROW
