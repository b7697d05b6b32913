"""Find the stretches of a recording that hold no ECG: zeros, one value, or no value in every lead."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

MIN_GAP: Final = 0.25  # s in which no lead changes; many recordings of PTB-XL end with 0.12 s of the last sample
MIN_PADDING: Final = 0.05  # s at the start or end in which all leads have one and the same value


def recorded_samples(counts: NDArray[Any], sampling_frequency: float) -> NDArray[np.bool_] | None:
    """Return which samples of (leads, samples) were recorded, (samples,), or None for all of them, as nearly always.

    A recording in which no lead changes at all is left as it is."""
    gap = max(3, round(MIN_GAP * sampling_frequency))  # samples
    padding = max(2, round(MIN_PADDING * sampling_frequency))
    if not _is_suspect(counts, gap):
        return None
    recorded = np.ones(counts.shape[1], np.bool_)
    for first, end in _unchanged_runs(counts).tolist():
        at_an_end = first == 0 or end == counts.shape[1]
        if end - first >= gap or (at_an_end and end - first >= padding and _is_common(counts[:, first])):
            recorded[first:end] = False
    return recorded if recorded.any() and not recorded.all() else None


def _is_suspect(counts: NDArray[Any], gap: int) -> bool:
    """Return whether there may be such a stretch, from a few samples: a gap contains two neighbours of these."""
    if _is_common(counts[:, 0]) or _is_common(counts[:, -1]):
        return True
    some = counts[:, :: gap // 2]
    one = _equal(some[0, 1:], some[0, :-1])  # rarely true anywhere, and the other leads need no look then
    return bool(one.any() and _equal(some[:, 1:], some[:, :-1]).all(axis=0).any())


def _unchanged_runs(counts: NDArray[Any]) -> NDArray[np.intp]:
    """Return first sample and end of each run in which no lead changes, (runs, 2)."""
    unchanged = np.ones(counts.shape[1] - 1, np.bool_)
    for lead in counts:  # one at a time: less memory for days of ECG
        unchanged &= _equal(lead[1:], lead[:-1])
    edges = np.flatnonzero(np.diff(unchanged, prepend=False, append=False)).reshape(-1, 2)
    edges[:, 1] += 1
    return edges


def _equal(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.bool_]:
    equal: NDArray[np.bool_] = first == second
    return equal if first.dtype.kind == "i" else equal | (np.isnan(first) & np.isnan(second))


def _is_common(column: NDArray[Any]) -> bool:
    return len(column) > 1 and bool(_equal(column, column[:1]).all())  # one lead has always one value
