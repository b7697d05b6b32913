"""How much of a training fits into the time that there is: fewer epochs first, then fewer folds.

The Challenge ends a training after 72 hours, whatever it has by then. Epochs are timed, and as soon as the rest of the
recipe would take longer than what is left, the plan is shortened; the rate's decay is a share of the epochs, so a
shorter fold has the whole schedule in small. This file knows no networks and no data.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from leadwise.util.progress import duration, log

LEAST_SHARE = 0.2  # of the recipe's epochs: before a fold has fewer, later folds are given up
SLACK = 1.05  # an epoch may take so much longer than the slowest of the last two
RESERVE = (0.05, 600.0)  # for thresholds and files: this share of the limit, at most so many seconds
_loaded = time.monotonic()


def seconds_since_start() -> float:
    """How long this process has been running, by what the system says (Linux), else since this file was imported."""
    try:
        words = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        ticks = int(words[19])  # field 22 of proc_pid_stat(5): start after boot
        elapsed = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
        return elapsed if ticks > 0 and elapsed >= 0 else time.monotonic() - _loaded
    except (OSError, IndexError, ValueError, AttributeError):
        return time.monotonic() - _loaded


def shorten(affordable: int, fold: int, done: int, epochs: int, folds: int, least: int) -> tuple[int, int]:
    """Epochs a fold and folds, with at most `affordable` epochs still to come.

    `done` epochs of fold number `fold` (0, 1, ...) are finished; `epochs` and `folds` are what the recipe wants. A fold
    gets at least `least` epochs as long as there is a later fold to give up; the present fold gets what is left.
    """
    for number in range(folds, fold, -1):
        later = number - fold - 1
        for some in range(epochs, least - 1, -1):
            if max(some - done, 0) + later * some <= affordable:
                return some, number
    return min(done + affordable, epochs), fold + 1


@dataclass
class TimePlan:
    """What a run still means to do: `epochs` a fold, `folds` folds, from the recipe's numbers down as time runs out.

    `limit` is in seconds; `clock` says how many of them have passed.
    """

    epochs: int
    folds: int
    limit: float = math.inf
    clock: Callable[[], float] = seconds_since_start
    wanted: tuple[int, int] = field(init=False)  # the recipe's epochs and folds
    _recent: list[float] = field(default_factory=list, init=False)  # seconds of the last epochs
    _last: float = field(default=math.inf, init=False)  # when the last epoch ended

    def __post_init__(self) -> None:
        self.wanted = (self.epochs, self.folds)

    def seconds_left(self) -> float:
        """The time that is left to train: thresholds and files have their reserve."""
        if math.isinf(self.limit):
            return math.inf
        share, most = RESERVE
        return self.limit - min(share * self.limit, most) - self.clock()

    def give_up_from(self, fold: int) -> None:
        """Plans no fold from number `fold` on."""
        log.warning("the time is over: %d folds of %d", fold, self.wanted[1])
        self.folds = fold

    def after_epoch(self, fold: int, done: int, seconds: float) -> None:
        """Plans anew after `done` epochs of fold number `fold`, the last of which took so many seconds."""
        now = self.clock()
        self._recent = [*self._recent[-1:], max(seconds, now - self._last)]  # with what was written since the last
        self._last = now
        left = self.seconds_left()
        if math.isinf(left):
            return
        affordable = max(0, math.floor(left / max(SLACK * max(self._recent), 1e-9)))
        before, (epochs, folds) = (self.epochs, self.folds), self.wanted
        least = math.ceil(LEAST_SHARE * epochs)
        self.epochs, self.folds = shorten(affordable, fold, done, epochs, folds, least)
        if (self.epochs, self.folds) != before:
            log.warning(
                "an epoch takes %s and %s are left: %d epochs of %d, %d folds of %d",
                duration(seconds), duration(max(left, 0)), self.epochs, epochs, self.folds, folds,
            )  # fmt: skip
