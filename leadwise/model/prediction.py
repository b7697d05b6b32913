"""Hold the prediction of a model for one recording."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from leadwise.ecg.quality import QualityWarning
from leadwise.ecg.repairs import RecordingError
from leadwise.util.text import printable


@dataclass(frozen=True, eq=False)
class Prediction:
    """Labels and probabilities of one recording; the training prior if `error` is set."""

    name: str
    labels: NDArray[np.bool_]  # (24,)
    scores: NDArray[np.float64]  # (24,) probabilities
    repairs: tuple[str, ...]  # names
    error: RecordingError | None = None  # file and reason, if the recording cannot be used
    in_distribution: float = np.nan  # probability of it; NaN if the model does not distinguish
    warnings: tuple[QualityWarning, ...] = ()  # if they were requested

    @property
    def out_of_distribution(self) -> bool:
        """Return whether the recording is more likely from another hospital than from those of the training."""
        return self.in_distribution < 0.5

    @property
    def reason(self) -> str | None:
        """Return why the recording cannot be used, in one line."""
        return None if self.error is None else printable(self.error.reason)
