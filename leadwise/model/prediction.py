"""Hold the prediction of a model for one recording."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Prediction:
    """Labels and probabilities of one recording; the training prior if `error` is set."""

    name: str
    labels: NDArray[np.bool_]  # (24,)
    scores: NDArray[np.float64]  # (24,) probabilities
    repairs: tuple[str, ...]  # names
    error: str | None  # file and reason, if the recording cannot be used
    reason: str | None = None  # without the file
    out_of_distribution: bool = False  # acquisition profile not seen in training
