"""Divide a data set into folds: stratified by diagnosis within each source, patients undivided."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import groupby
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from leadwise.data.dataset import Dataset, describe_left_out


def patient_groups(names: Sequence[str], sources: Sequence[str], people: Sequence[Hashable]) -> tuple[str, ...]:
    """Return a group name per recording, (n,), the same for recordings that may be of one patient; `people`: age, sex.

    Only INCART allows that: it numbers the two or three recordings of a patient in a row, with the same age and sex.
    Headers of other sources do not identify patients, so that each recording is a group of its own.
    """
    groups = {name: name for name in names}
    incart = [(name, person) for name, source, person in zip(names, sources, people, strict=True) if source == "I"]
    for _, run in groupby(sorted(incart, key=itemgetter(0)), key=itemgetter(1)):
        members = [name for name, _ in run]
        groups.update(dict.fromkeys(members, members[0]))
    return tuple(groups[name] for name in names)


def assign_folds(dataset: Dataset, folds: int, seed: int) -> NDArray[np.int64]:
    """Return the validation fold of each recording, (n,), multi-label stratified within each source.

    Iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011, algorithm 1) over patients. Raises ValueError
    for fewer than two recordings per fold, or if a fold gets none.
    """
    advice = "give more recordings or fewer folds"
    if len(dataset) < 2 * folds:
        need = f"{folds} folds need at least {2 * folds} recordings with a scored diagnosis"
        left_out = describe_left_out(dataset.left_out.values())
        others = f" (left out: {left_out})" if left_out else ""
        raise ValueError(f"{need}, {len(dataset)} can be used: {advice}{others}")
    random = np.random.default_rng(seed)
    assigned = np.empty(len(dataset), np.int64)
    sources, groups = np.array(dataset.sources), np.array(dataset.groups)
    for source in np.unique(sources):
        members = np.flatnonzero(sources == source)
        _, patients = np.unique(groups[members], return_inverse=True)  # (members,) patient of each recording
        labels = np.zeros((patients.max() + 1, dataset.labels.shape[1]), np.int64)
        np.add.at(labels, patients, dataset.labels[members])
        assigned[members] = stratify(labels, np.bincount(patients), folds, random)[patients]
    if empty := set(range(folds)).difference(assigned.tolist()):
        reason = "those of one patient stay together, and each source is divided by itself"
        raise ValueError(f"{len(empty)} of {folds} folds would have no recordings, since {reason}: {advice}")
    return assigned


def stratify(
    labels: NDArray[np.int64], sizes: NDArray[np.int64], folds: int, random: np.random.Generator
) -> NDArray[np.int64]:
    """Return a fold for each patient, (patients,), distributing the rarest remaining label first.

    `labels` (patients, classes) counts each class, `sizes` (patients,) the recordings. A patient goes to the fold that
    lacks most of the label, then to the one that lacks most recordings, then to a random one.
    """
    missing_labels = np.tile(labels.sum(0) / folds, (folds, 1))  # (folds, classes)
    missing_recordings = np.full(folds, sizes.sum() / folds)
    assigned = np.full(len(labels), -1)
    while (free := np.flatnonzero(assigned < 0)).size:
        counts = labels[free].sum(0)
        rarest = int(np.where(counts > 0, counts, counts.max() + 1).argmin())
        members = free[labels[free, rarest] > 0] if counts.any() else free
        for patient in random.permutation(members):
            best = np.lexsort((random.random(folds), -missing_recordings, -missing_labels[:, rarest]))[0]
            assigned[patient] = best
            missing_labels[best] -= labels[patient]
            missing_recordings[best] -= sizes[patient]
    return assigned
