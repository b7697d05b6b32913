"""Write the signals of all recordings to one file, from one process or from several at the same time.

Each process writes straight into a segment of the file: passing signals on costs more than half of the preparation.
Segments are reserved by an estimate. Signals beyond it go to an overflow file, which is appended at the end; unused
rows stay a hole, which takes no disk space.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

ROW = 12 * 4  # bytes of one sample of twelve leads
COPY_BYTES = 1 << 20  # copied at a time, so that they stay in the CPU's caches


class Place(NamedTuple):
    """The first row of a signal: in the store, or in the overflow file of the segment with the number `overflow`."""

    row: int
    overflow: int | None = None


class SampleWriter:
    """Writes signals to an open file, one after the other."""

    def __init__(self, file: IO[bytes], first: int = 0, overflow: int | None = None) -> None:
        self.file, self.next, self.overflow = file, first, overflow

    def put(self, signal: memoryview) -> Place:
        """Write a signal (samples, 12)."""
        start = self.next
        self.file.write(signal)
        self.next += len(signal)
        return Place(start, self.overflow)


@dataclass(frozen=True)
class Segment:
    """Rows `first` to `end` of the store, reserved for one process."""

    store: Path
    number: int
    first: int
    end: int

    @property
    def overflow(self) -> Path:
        """Return the file for signals that do not fit."""
        return self.store.with_name(f"overflow{self.number}")

    @contextmanager
    def opened(self) -> Iterator[Callable[[memoryview], Place]]:
        """Open the store; give a function that writes a signal (samples, 12) to this segment or to its overflow."""
        with ExitStack() as files:
            writer = SampleWriter(files.enter_context(self.store.open("r+b")), self.first)
            writer.file.seek(self.first * ROW)
            overflow: SampleWriter | None = None

            def put(signal: memoryview) -> Place:
                nonlocal overflow
                if writer.next + len(signal) <= self.end:
                    return writer.put(signal)
                if overflow is None:
                    overflow = SampleWriter(files.enter_context(self.overflow.open("wb")), overflow=self.number)
                return overflow.put(signal)

            yield put


class SampleStore:
    """The file of all signals while its segments are filled."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.segments: list[Segment] = []
        self.overflow_starts: dict[int, int] = {}  # segment number -> first row of its overflow

    def reserve(self, rows: int) -> Segment:
        """Reserve a segment behind the others."""
        first = self.segments[-1].end if self.segments else 0
        self.segments.append(Segment(Path(self.file.name), len(self.segments), first, first + rows))
        return self.segments[-1]

    def append_overflow(self) -> None:
        """Move the overflow of the segments, in their order, behind the last segment."""
        self.file.seek(self.segments[-1].end * ROW)
        for segment in (segment for segment in self.segments if segment.overflow.exists()):
            self.overflow_starts[segment.number] = self.file.tell() // ROW
            with segment.overflow.open("rb") as file:
                shutil.copyfileobj(file, self.file, COPY_BYTES)
            segment.overflow.unlink()

    def row(self, place: Place) -> int:
        """Return the row of the store for a place, after `append_overflow`."""
        return place.row if place.overflow is None else self.overflow_starts[place.overflow] + place.row
