"""Find the evidence for a diagnosis by occlusion: hide a piece of the ECG and see how far the probability drops.

Each half second of each lead is hidden in turn, and each whole lead (Zeiler and Fergus 2014, section 4.2, with a
straight line instead of a grey square). The result says what this model used, not what causes the diagnosis. A pattern
that repeats in other beats or leads can be hidden without loss: a small drop does not mean that nothing is there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, islice, pairwise

import numpy as np
from numpy.typing import NDArray

from leadwise.ecg.preprocessing import prediction_windows
from leadwise.model.ensemble import Model
from leadwise.report.sheet.layout import Span

HIDDEN = 0.5  # s
BATCH = 64  # altered recordings in memory
MAX_SPANS, MIN_SHARE = 12, 0.25  # shown: at most so many spans, each with at least this share of the largest drop
MIN_DROP = 0.05  # of the probability; less is no evidence that a reader could act on

Signal = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Evidence:
    """The change of one diagnosis's probability (mean of the networks) when pieces of the recording are hidden."""

    diagnosis: int  # index among the 24
    probability: float  # of the examined part
    start: float  # s of the recording where the examined part begins ...
    end: float  # ... and ends
    spans: tuple[Span, ...]  # each half second of each lead; weight: the drop, below 0 if the probability rises
    leads: NDArray[np.float64]  # (12,) drop when the whole lead is zero, like a missing one

    def strongest(self) -> list[Span]:
        """Return the spans with the largest drops, the largest first; none if the probability drops by less than
        `MIN_DROP`."""
        drops = sorted((span for span in self.spans if span.weight >= MIN_DROP), key=lambda span: -span.weight)
        return [span for span in drops[:MAX_SPANS] if span.weight >= MIN_SHARE * drops[0].weight]


def find_evidence(model: Model, signal: Signal, auxiliary: NDArray[np.float32], diagnosis: int) -> Evidence:
    """Return the evidence for one of the 24 in a prepared signal (12, samples) with auxiliary features (5,) or (6,).

    A recording that is longer than a window is examined in the window in which the diagnosis is most probable.
    """
    frequency, window = model.recipe.signal.sampling_frequency, model.recipe.signal.window
    starts = prediction_windows([signal.shape[1]], model.recipe.signal)[:, 1].tolist()
    first = 0
    if len(starts) > 1:
        windows = (signal[:, start : start + window] for start in starts)
        first = starts[int(np.argmax(_probabilities(model, windows, auxiliary, diagnosis)))]
    part = signal[:, first : first + window]
    present = np.flatnonzero(part.any(axis=1)).tolist()
    pieces = [(lead, *cell) for lead in present for cell in cells(part.shape[1], HIDDEN * frequency)]
    altered = (without_piece(part, *piece) for piece in pieces)
    zeroed = (without_leads(part, [lead]) for lead in present)
    probabilities = _probabilities(model, chain([part], altered, zeroed), auxiliary, diagnosis)
    drops = probabilities[0] - probabilities[1:]
    spans = tuple(
        Span(lead, (first + left) / frequency, (first + right) / frequency, float(drop))
        for (lead, left, right), drop in zip(pieces, drops[: len(pieces)], strict=True)
    )
    leads = np.zeros(len(part))
    leads[present] = drops[len(pieces) :]
    end = (first + part.shape[1]) / frequency
    return Evidence(diagnosis, float(probabilities[0]), first / frequency, end, spans, leads)


def cells(samples: int, width: float) -> list[tuple[int, int]]:
    """Divide the samples into cells, (first sample, end): `width` wide, the last one half to one and a half of that."""
    count = max(1, round(samples / width))
    return list(pairwise([*(round(cell * width) for cell in range(count)), samples]))


def without_piece(signal: Signal, lead: int, first: int, end: int) -> Signal:
    """Return a copy with samples first ... end - 1 of a lead replaced by a straight line between their neighbours.

    At an end of the recording the line is level at the one neighbour; without any neighbour it is zero.
    """
    altered, samples = signal.copy(), signal.shape[1]
    neighbours = [place for place in (first - 1, end) if 0 <= place < samples]
    places = np.arange(first, end)
    altered[lead, first:end] = np.interp(places, neighbours, signal[lead, neighbours]) if neighbours else 0
    return altered


def without_leads(signal: Signal, leads: list[int]) -> Signal:
    """Return a copy of the signal (12, samples) with these leads set to zero."""
    altered = signal.copy()
    altered[leads] = 0
    return altered


def _probabilities(
    model: Model, signals: Iterable[Signal], auxiliary: NDArray[np.float32], diagnosis: int
) -> NDArray[np.float64]:
    """Return the diagnosis's probability in each signal, (signals,): the mean over the networks of the folds."""
    found = []
    waiting = iter(signals)
    while batch := list(islice(waiting, BATCH)):
        features = np.repeat(auxiliary[None], len(batch), axis=0)
        # without the simulation-only network, which in-distribution recordings do not use
        by_fold = model.probabilities(batch, features)[: len(model.thresholds)]
        found.append(by_fold.mean(0)[:, diagnosis])
    return np.concatenate(found)
