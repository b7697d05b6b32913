"""Report the progress of a long loop: a tqdm bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from tqdm import tqdm

from leadwise.util.text import discard_output, escape_unprintable_output

Item = TypeVar("Item")
log = logging.getLogger("leadwise")
SECONDS_BETWEEN_LINES = 30.0


class _LogLines(logging.StreamHandler[Any]):
    """Print log lines; without a reader the work goes on in silence, since its results are files."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Discard the output if its reader has closed the pipe."""
        if isinstance(sys.exc_info()[1], BrokenPipeError):
            discard_output()
        else:
            super().handleError(record)


def log_to_stdout() -> None:
    """Send log lines to standard output with the time of day; further calls have no effect."""
    if not log.handlers:
        escape_unprintable_output()
        handler = _LogLines(sys.stdout)
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)


def duration(seconds: float) -> str:
    """Return seconds as text: 42 s, 3 min 20 s, 2 h 05 min."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def track(items: Iterable[Item], description: str, total: int, unit: str = "recordings") -> Iterator[Item]:
    """Yield the items, `total` in number, and report progress."""
    if sys.stderr.isatty():
        yield from tqdm(items, desc=description, total=total, unit=f" {unit}", leave=False)
        return
    start = last = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES and done < total:
            last, rate = now, done / (now - start)
            left = duration((total - done) / rate)
            log.info("%s: %d of %d %s, %.1f/s, %s left", description, done, total, unit, rate, left)
