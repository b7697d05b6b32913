"""A data folder becomes prepared arrays, labels and folds. Knows no tensors and no networks.

Every recording with a scored diagnosis is read and resampled once, in parallel, into one long memory-mapped array of
shape (samples of all recordings, 12), float32: a window is then a run of rows, whatever recording it comes from.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from leadwise.data.dataset import Dataset
from leadwise.ecg.header import Sex


class DescribedRecording(Protocol):
    """A recording whose header fields tell patients apart."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def source(self) -> str: ...  # noqa: D102
    @property
    def age(self) -> float | None: ...  # noqa: D102
    @property
    def sex(self) -> Sex | None: ...  # noqa: D102


def patient_groups(recordings: Sequence[DescribedRecording]) -> tuple[str, ...]:
    """A name for each recording's patient, (n,); recordings that may be of one patient get the same name.

    Only INCART tells: its two or three recordings of a patient are numbered in a row and carry the same age and sex.
    Neither PTB, PTB-XL nor any other header says whose recording it is, so each of theirs is a patient of its own.
    """
    groups = {each.name: each.name for each in recordings}
    incart = sorted((each for each in recordings if each.source == "I"), key=lambda each: each.name)
    for _, run in groupby(incart, key=lambda each: (each.age, each.sex)):
        members = [each.name for each in run]
        groups.update(dict.fromkeys(members, members[0]))
    return tuple(groups[each.name] for each in recordings)


def assign_folds(dataset: Dataset, folds: int, seed: int) -> NDArray[np.int64]:
    """The validation fold of each recording, (n,), multi-label stratified within each source.

    Iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011, algorithm 1) over patients. Raises ValueError
    where there are fewer than two recordings a fold.
    """
    if len(dataset) < 2 * folds:
        raise ValueError(
            f"{folds} folds need at least {2 * folds} recordings with a scored diagnosis, {len(dataset)} can be used:"
            " give more recordings or fewer folds"
        )
    random = np.random.default_rng(seed)
    assigned = np.empty(len(dataset), np.int64)
    sources, groups = np.array(dataset.sources), np.array(dataset.groups)
    for source in np.unique(sources):
        members = np.flatnonzero(sources == source)
        _, units = np.unique(groups[members], return_inverse=True)  # (members,) patient of each recording
        labels = np.zeros((units.max() + 1, dataset.labels.shape[1]), np.int64)
        np.add.at(labels, units, dataset.labels[members])
        assigned[members] = stratify(labels, np.bincount(units), folds, random)[units]
    return assigned


def stratify(
    labels: NDArray[np.int64], sizes: NDArray[np.int64], folds: int, random: np.random.Generator
) -> NDArray[np.int64]:
    """A fold for each unit, (units,): the rarest label that is left is shared out first.

    `labels` (units, classes) counts each class in each unit, `sizes` (units,) the recordings. A unit goes where its
    label is missed most, then where recordings are missed most, then by lot.
    """
    wanted = np.tile(labels.sum(0) / folds, (folds, 1))  # (folds, classes) labels still to come
    room = np.full(folds, sizes.sum() / folds)  # (folds,) recordings still to come
    assigned = np.full(len(labels), -1)
    while (free := np.flatnonzero(assigned < 0)).size:
        counts = labels[free].sum(0)
        rarest = int(np.where(counts > 0, counts, counts.max() + 1).argmin())
        members = free[labels[free, rarest] > 0] if counts.any() else free
        for unit in random.permutation(members):
            best = np.lexsort((random.random(folds), -room, -wanted[:, rarest]))[0]
            assigned[unit] = best
            wanted[best] -= labels[unit]
            room[best] -= sizes[unit]
    return assigned
