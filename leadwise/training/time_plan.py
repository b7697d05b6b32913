"""Plan how many epochs and folds fit into the time limit (72 hours in the Challenge): reduce epochs, then folds."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from leadwise.util.progress import duration, log

LEAST_SHARE = 0.2  # of the recipe's epochs: folds are given up before their epochs become fewer
SLACK = 1.05  # an epoch may take so much longer than the slower of the last two
RESERVE = (0.05, 600.0)  # for thresholds and files: this share of the limit, at most so many seconds
_loaded = time.monotonic()


def seconds_since_start() -> float:
    """Return how long this process has been running, from Linux, else from the import of this module."""
    try:
        words = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        ticks = int(words[19])  # field 22 of proc_pid_stat(5): start after boot
        elapsed = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
        return elapsed if ticks > 0 and elapsed >= 0 else time.monotonic() - _loaded
    except (OSError, IndexError, ValueError, AttributeError):
        return time.monotonic() - _loaded


def shorten(affordable: int, fold: int, done: int, epochs: int, folds: int, least: int) -> tuple[int, int]:
    """Return epochs per fold and folds, with at most `affordable` epochs after the `done` epochs of fold `fold`, and at
    least `least` per fold as long as a later fold can be given up; the recipe has `epochs` and `folds`."""
    for number in range(folds, fold, -1):
        later = number - fold - 1
        for count in range(epochs, least - 1, -1):
            if max(count - done, 0) + later * count <= affordable:
                return count, number
    return min(done + affordable, epochs), fold + 1


@dataclass
class TimePlan:
    """Epochs per fold and folds that a run intends to train, reduced from the recipe's numbers as time runs out."""

    epochs: int
    folds: int
    limit: float = math.inf  # seconds
    clock: Callable[[], float] = seconds_since_start  # seconds that have passed
    wanted: tuple[int, int] = field(init=False)  # the recipe's epochs and folds
    _recent: list[float] = field(default_factory=list, init=False)  # seconds of the last two epochs
    _last: float = field(default=math.inf, init=False)  # when the last epoch ended

    def __post_init__(self) -> None:
        self.wanted = (self.epochs, self.folds)

    def seconds_left(self) -> float:
        """Return the time left to train, without the reserve for thresholds and files."""
        if math.isinf(self.limit):
            return math.inf
        share, most = RESERVE
        return self.limit - min(share * self.limit, most) - self.clock()

    def give_up_from(self, fold: int) -> None:
        """Remove the folds from number `fold` on."""
        log.warning("the time is over: %d folds of %d", fold, self.wanted[1])
        self.folds = fold

    def after_epoch(self, fold: int, done: int, seconds: float) -> None:
        """Update the plan after `done` epochs of fold number `fold`, the last of which took so many seconds."""
        now = self.clock()
        self._recent = [*self._recent[-1:], max(seconds, now - self._last)]  # with the files written since the last
        self._last = now
        left = self.seconds_left()
        if math.isinf(left):
            return
        affordable = max(0, math.floor(left / max(SLACK * max(self._recent), 1e-9)))
        before, (epochs, folds) = (self.epochs, self.folds), self.wanted
        self.epochs, self.folds = shorten(affordable, fold, done, epochs, folds, math.ceil(LEAST_SHARE * epochs))
        if (self.epochs, self.folds) != before:
            log.warning(
                "an epoch takes %s and %s are left: %d epochs of %d, %d folds of %d",
                duration(seconds), duration(max(left, 0)), self.epochs, epochs, self.folds, folds,
            )  # fmt: skip
