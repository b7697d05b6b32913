"""What a model answers for one recording."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Prediction:
    """The answer for one recording."""

    name: str
    labels: NDArray[np.bool_]  # (24,)
    scores: NDArray[np.float64]  # (24,) probabilities
    repairs: tuple[str, ...]  # names of what had to be mended
    problem: str | None  # file and reason why the recording could not be used, and the answer is the prior's
    reason: str | None = None  # the reason alone
    out_of_distribution: bool = False  # answered as of another hospital: acquired as no training recording was
