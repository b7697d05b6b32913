"""Where the evidence for a diagnosis lies, by occlusion: hide a piece of the ECG, see how far the probability falls.

Each half second of each lead is hidden in turn (Zeiler and Fergus 2014, section 4.2, with a straight line instead of a
grey square), and each lead as a whole. Says what this model used, not what is the cause, and a piece that repeats in
other beats or other leads can be missed without loss: small falls do not mean that nothing is there. Asks the model
alone, draws nothing and reads no files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice, pairwise

import numpy as np
from numpy.typing import NDArray

from leadwise.ecg.preprocessing import window_starts
from leadwise.model.ensemble import Model
from leadwise.report.sheet.layout import Span

HIDDEN = 0.5  # s
AT_ONCE = 64  # altered recordings in memory
MOST_SPANS, LEAST_SHARE = 12, 0.25  # told: so many at most, none that falls by less than this share of the largest

Signal = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Evidence:
    """What hiding pieces does to the probability of one diagnosis (mean of the networks)."""

    diagnosis: int  # place among the 24
    probability: float  # of the part that was examined
    start: float  # s of the recording where that part begins ...
    end: float  # ... and ends
    spans: tuple[Span, ...]  # each lead x half second of it; weight: the fall, below 0 where the probability rises
    leads: NDArray[np.float64]  # (12,) the fall when the whole lead is zero, as a missing one is

    def strongest(self) -> list[Span]:
        """The spans with the largest falls, the largest first; none where nothing makes the probability fall."""
        falls = sorted((span for span in self.spans if span.weight > 0), key=lambda span: -span.weight)
        return [span for span in falls[:MOST_SPANS] if span.weight >= LEAST_SHARE * falls[0].weight]


def find_evidence(model: Model, signal: Signal, demographics: NDArray[np.float32], diagnosis: int) -> Evidence:
    """The evidence for one of the 24 in a prepared signal, (12, samples), and demographics (5,).

    Of a recording that is longer than a window, the window in which the diagnosis is most probable is examined.
    """
    frequency, window = model.recipe.signal.sampling_frequency, model.recipe.signal.window
    first = _best_window(model, signal, demographics, diagnosis)
    part = signal[:, first : first + window]
    present = np.flatnonzero(part.any(axis=1)).tolist()
    pieces = [(lead, *cell) for lead in present for cell in cells(part.shape[1], HIDDEN * frequency)]
    altered = chain([part], (without_piece(part, *piece) for piece in pieces), (without_lead(part, k) for k in present))
    probabilities = _probabilities(model, altered, demographics, diagnosis)
    falls = probabilities[0] - probabilities[1:]
    spans = tuple(
        Span(lead, (first + left) / frequency, (first + right) / frequency, float(fall))
        for (lead, left, right), fall in zip(pieces, falls[: len(pieces)], strict=True)
    )
    leads = np.zeros(len(part))
    leads[present] = falls[len(pieces) :]
    end = (first + part.shape[1]) / frequency
    return Evidence(diagnosis, float(probabilities[0]), first / frequency, end, spans, leads)


def cells(samples: int, width: float) -> list[tuple[int, int]]:
    """The pieces, (first sample, the one after its last): `width` samples wide, the last one from half to one and a
    half of that, where there is so much."""
    count = max(1, round(samples / width))
    edges = [round(cell * width) for cell in range(count)] + [samples]
    return list(pairwise(edges))


def without_piece(signal: Signal, lead: int, first: int, end: int) -> Signal:
    """A copy whose samples first ... end - 1 of a lead are a straight line between their neighbours.

    At an end of the recording the line is level at the one neighbour; where there is none it is zero.
    """
    altered, samples = signal.copy(), signal.shape[1]
    neighbours = [place for place in (first - 1, end) if 0 <= place < samples]
    places = np.arange(first, end)
    altered[lead, first:end] = np.interp(places, neighbours, signal[lead, neighbours]) if neighbours else 0
    return altered


def without_lead(signal: Signal, lead: int) -> Signal:
    """A copy in which a lead is zero."""
    altered = signal.copy()
    altered[lead] = 0
    return altered


def _best_window(model: Model, signal: Signal, demographics: NDArray[np.float32], diagnosis: int) -> int:
    """The sample at which the window begins that makes the diagnosis most probable."""
    window = model.recipe.signal.window
    starts = window_starts(signal.shape[1], window, model.recipe.signal.overlap).tolist()
    if len(starts) == 1:
        return 0
    parts = (signal[:, start : start + window] for start in starts)
    return int(starts[int(np.argmax(_probabilities(model, parts, demographics, diagnosis)))])


def _probabilities(
    model: Model, signals: Iterable[Signal], demographics: NDArray[np.float32], diagnosis: int
) -> NDArray[np.float64]:
    """The diagnosis' mean probability in each of the signals, (signals,), so many at a time."""
    return np.concatenate(list(_by_batches(model, signals, demographics, diagnosis)))


def _by_batches(
    model: Model, signals: Iterable[Signal], demographics: NDArray[np.float32], diagnosis: int
) -> Iterator[NDArray[np.float64]]:
    waiting = iter(signals)
    while some := list(islice(waiting, AT_ONCE)):
        people = np.repeat(demographics[None], len(some), axis=0)
        own = model.probabilities(some, people)[: len(model.thresholds)]  # not the textbook's, which home never asks
        yield own.mean(0)[:, diagnosis]
