"""The long array of signals while it is written, by one process or by several at once. Knows no headers, no recordings.

Several processes write straight into one file, each a run of recordings at a place that was foreseen for it: a way by
files of their own, which another process copies, costs more than half of what preparing costs. What turns out longer
than foreseen goes to a file beside, and from there behind all else; what turns out shorter leaves a hole, which takes
no room on a disk.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROW = 12 * 4  # bytes of one sample of twelve leads
PIECE = 1 << 20  # bytes that are copied at a time, so that they stay in the cores' caches


class SampleWriter:
    """Puts signals into an open file, one behind the other."""

    def __init__(self, file: IO[bytes], first: int = 0) -> None:
        self.file = file
        self.next = first  # row

    def put(self, signal: memoryview) -> int:
        """Writes a signal (samples, 12); the row where it begins."""
        start = self.next
        self.file.write(signal)
        self.next += len(signal)
        return start


@dataclass(frozen=True)
class Segment:
    """Rows of a file that one process may fill while others fill others."""

    path: Path
    first: int  # row
    rows: int
    overflow: Path  # a file for what does not fit

    @contextmanager
    def opened(self) -> Iterator[SegmentWriter]:
        """What writes there."""
        with ExitStack() as files:
            file = files.enter_context(self.path.open("r+b"))
            file.seek(self.first * ROW)
            yield SegmentWriter(file, self, files)


class SegmentWriter(SampleWriter):
    """Puts signals into a room."""

    def __init__(self, file: IO[bytes], segment: Segment, files: ExitStack) -> None:
        super().__init__(file, segment.first)
        self.segment, self.files = segment, files
        self.overflow: SampleWriter | None = None

    def put(self, signal: memoryview) -> int:
        """Writes a signal (samples, 12); the row where it begins, -1 - row where that is beside."""
        if self.next + len(signal) <= self.segment.first + self.segment.rows:
            return super().put(signal)
        if self.overflow is None:
            self.overflow = SampleWriter(self.files.enter_context(self.segment.overflow.open("wb")))
        return -1 - self.overflow.put(signal)


class SampleStore:
    """The whole file while its rooms are filled."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.segments: list[Segment] = []
        self.rows = 0  # of all rooms
        self.overflow: list[Path] = []
        self.overflow_rows = 0

    def segment(self, rows: int) -> Segment:
        """One more room, behind the others."""
        path = Path(self.file.name)
        self.segments.append(Segment(path, self.rows, rows, path.with_name(f"beside{len(self.segments)}")))
        self.rows += rows
        return self.segments[-1]

    def record_overflow(self, segment: Segment, rows: int) -> None:
        """So many rows lie beside this room, which is full, and are to come behind those that were noted before."""
        if rows:
            self.overflow.append(segment.overflow)
            self.overflow_rows += rows

    def append_overflow(self) -> None:
        """Moves what lies beside behind all rooms."""
        self.file.seek(self.rows * ROW)
        for path in self.overflow:
            with path.open("rb") as file:
                shutil.copyfileobj(file, self.file, PIECE)
            path.unlink()
