"""Count what was wrong in a folder of recordings: unusable ones, repairs, quality, out of distribution."""

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
    """Counts over the recordings of a folder."""

    recordings: int = 0
    unusable: list[tuple[str, str]] = field(default_factory=list)  # (name, reason)
    repairs: Counter[str] = field(default_factory=Counter)  # recordings with each repair
    warnings: Counter[str] = field(default_factory=Counter)  # recordings with each quality warning
    out_of_distribution: int = 0

    def add(self, name: str, prediction: Prediction) -> None:
        """Count one more recording."""
        self.recordings += 1
        self.repairs.update(set(prediction.repairs))
        self.warnings.update({warning.name for warning in prediction.warnings})
        self.out_of_distribution += prediction.out_of_distribution
        if prediction.reason is not None:
            self.unusable.append((name, prediction.reason))

    def lines(self) -> list[str]:
        """Return the summary for a log."""
        outside = f"  {self.out_of_distribution} out of distribution (probably not from the hospitals of the training)"
        kinds = Counter(reason_kind(reason) for _, reason in self.unusable)
        return [
            f"{self.recordings} recordings scored, {len(self.unusable)} of them could not be used"
            " and got the training prior",
            *([outside] if self.out_of_distribution else []),
            *(f"  not usable: {count}, {kind}" for kind, count in kinds.most_common()),
            *(f"  repaired: {count}, {repair}" for repair, count in self.repairs.most_common()),
            *(f"  quality: {count}, {warning}" for warning, count in self.warnings.most_common()),
        ]

    def write_problems(self, path: Path) -> None:
        """Write a CSV file with the line `name,reason`, then one line per recording that cannot be used."""
        rows = [(no_formula(name), no_formula(reason)) for name, reason in self.unusable]
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([("name", "reason"), *rows])
        write_text(path, text.getvalue())
