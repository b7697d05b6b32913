"""The long array of signals: whatever was foreseen, each signal is found where it is said to begin."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from leadwise.store import ROW, Room, Writer, move_behind

CHUNKS = st.lists(st.tuples(st.integers(0, 30), st.lists(st.integers(1, 12), max_size=5)), min_size=1, max_size=5)


@given(CHUNKS, st.randoms())
def test_signals_of_rooms_filled_in_any_order_against_a_plain_list(chunks: list[tuple[int, list[int]]], order) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "store")
        path.touch()
        rooms, end = [], 0
        for number, (rows, _) in enumerate(chunks):
            rooms.append(Room(path, end, rows, Path(folder, f"beside{number}")))
            end += rows
        signals = {}  # by room and number
        starts = {}
        for number in order.sample(range(len(chunks)), len(chunks)):
            with rooms[number].opened() as writer:
                for place, length in enumerate(chunks[number][1]):
                    signal = np.full((length, 12), len(signals) + 1, np.float32)
                    signals[number, place] = signal
                    starts[number, place] = writer.put(signal.data)
        with path.open("r+b") as store:
            for number, room in enumerate(rooms):
                fitting = sum(chunks[number][1]) <= room.rows
                assert not (fitting and room.beside.exists())
                if room.beside.exists():
                    behind = move_behind(store, end, room.beside)
                    starts |= {key: end - 1 - row for key, row in starts.items() if key[0] == number and row < 0}
                    end = behind
        content = path.read_bytes()
        for key, signal in signals.items():
            assert content[starts[key] * ROW :][: signal.nbytes] == signal.tobytes()
        assert not list(Path(folder).glob("beside*"))


def test_one_process_leaves_no_gaps(tmp_path: Path) -> None:
    with (tmp_path / "store").open("wb") as file:
        writer = Writer(file)
        assert [writer.put(np.ones((length, 12), np.float32).data) for length in (3, 1, 2)] == [0, 3, 4]
    assert (tmp_path / "store").stat().st_size == 6 * ROW
