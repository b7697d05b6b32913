"""Tells how far a long loop is: a tqdm bar on a terminal, a line now and then in a log. Knows nothing of ECGs."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
log = logging.getLogger("leadwise")
SECONDS_BETWEEN_LINES = 30.0


def log_to_stdout() -> None:
    """Sends the project's log lines to standard output, with the time of day; called by commands, once is enough."""
    if not log.handlers:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)


def duration(seconds: float) -> str:
    """Seconds as a person reads them: 42 s, 3 min 20 s, 2 h 05 min."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours} h {minutes_left:02d} min" if hours else f"{minutes} min {rest:02d} s"


def track(items: Iterable[Item], what: str, total: int, unit: str = "recordings") -> Iterator[Item]:
    """Yields the items and reports progress; `what` names the work, `total` is the number of items."""
    if sys.stderr.isatty():
        yield from tqdm(items, desc=what, total=total, unit=f" {unit}", leave=False)
        return
    start = last = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES and done < total:
            last, rate = now, done / (now - start)
            log.info("%s: %d of %d %s, %.1f/s, %s left", what, done, total, unit, rate, duration((total - done) / rate))
