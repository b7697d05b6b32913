"""From recordings to answers, one at a time or a folder in batches; every recording gets one.

A recording that cannot be used is answered with the model's prior, and the reason is told, listed and counted; what
had to be put right in the others is counted too. Knows no training.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from leadwise.ecg.repairs import reason_kind
from leadwise.model.prediction import Prediction
from leadwise.util.files import write_text
from leadwise.util.text import no_formula


@dataclass
class ScoringSummary:
    """What was wrong in a folder of recordings."""

    recordings: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)  # (name, reason) of those that cannot be used
    repairs: Counter[str] = field(default_factory=Counter)  # recordings in which each repair was made
    out_of_distribution: int = 0  # recordings answered as of another hospital

    def add(self, name: str, scored: Prediction) -> None:
        """Counts one more recording."""
        self.recordings += 1
        self.repairs.update(set(scored.repairs))
        self.out_of_distribution += scored.out_of_distribution
        if scored.reason is not None:
            self.problems.append((name, scored.reason))

    def lines(self) -> list[str]:
        """The account for a log: how many cannot be used, by kind of reason, and how many were put right, by repair."""
        unusable = f"{len(self.problems)} of them could not be used and got the training prior"
        kinds = Counter(reason_kind(reason) for _, reason in self.problems)
        out_of_distribution = "were acquired as no training recording was, and answered as of another hospital"
        return [
            f"{self.recordings} recordings scored, {unusable}",
            *([f"  {self.out_of_distribution} {out_of_distribution}"] if self.out_of_distribution else []),
            *(f"  not usable: {count}, {kind}" for kind, count in kinds.most_common()),
            *(f"  repaired: {count}, {repair}" for repair, count in self.repairs.most_common()),
        ]

    def write_problems(self, path: Path) -> None:
        """Writes the list as CSV: a line `name,reason`, then one for each recording that cannot be used."""
        rows = [(no_formula(name), no_formula(reason)) for name, reason in self.problems]
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([("name", "reason"), *rows])
        write_text(path, text.getvalue())
