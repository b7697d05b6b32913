"""What a training learnt of its own recordings, kept in the model folder: who validated what, and with which answer.

Each recording is in the validation part of one fold, so that one network has never seen it: its probabilities and
labels are what a report is made from, without training anything again. Beside them stands what the report says of the
data. Knows no networks, no pictures and no signals.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from leadwise.challenge.classes import CODES
from leadwise.data.dataset import Dataset
from leadwise.util.files import atomic_write

FILE = "validation.safetensors"
NAMES = ("names", "sources")  # what is text
UNKNOWN, FEMALE, MALE = 0, 1, 2  # sex


@dataclass(frozen=True, eq=False)
class Validation:
    """All recordings of a training, n of them, in the order in which they were prepared."""

    names: tuple[str, ...]
    sources: tuple[str, ...]  # letter prefix of the name
    folds: NDArray[np.int8]  # (n,) the fold that a recording validates; -1 where that fold has no network (yet)
    labels: NDArray[np.bool_]  # (n, 24)
    probabilities: NDArray[np.float32]  # (n, 24) by the network of the fold; NaN where there is none
    seconds: NDArray[np.float32]  # (n,) length
    frequencies: NDArray[np.float32]  # (n,) Hz, of the file
    ages: NDArray[np.float32]  # (n,) years; NaN where not known
    sexes: NDArray[np.int8]  # (n,) UNKNOWN, FEMALE or MALE

    @classmethod
    def of(cls, dataset: Dataset, sampling_frequency: float) -> Validation:
        """The recordings of a data set whose signals have so many Hz, none of them validated yet."""
        shape, age = dataset.labels.shape, 100 * dataset.auxiliary_features[:, 0]
        return cls(
            names=dataset.names,
            sources=dataset.sources,
            folds=np.full(len(dataset), -1, np.int8),
            labels=dataset.labels,
            probabilities=np.full(shape, np.nan, np.float32),
            seconds=(dataset.lengths / sampling_frequency).astype(np.float32),
            frequencies=dataset.acquisitions[:, 0].astype(np.float32),
            ages=np.where(age > 0, age, np.nan).astype(np.float32),  # 0 stands for unknown
            sexes=(FEMALE * dataset.auxiliary_features[:, 2] + MALE * dataset.auxiliary_features[:, 3]).astype(np.int8),
        )

    def __len__(self) -> int:
        return len(self.names)

    def record(self, fold: int, held_out: NDArray[np.bool_], probabilities: NDArray[np.float32]) -> None:
        """What a fold's network says of the recordings `held_out` (n,): (held out, 24)."""
        self.folds[held_out] = fold
        self.probabilities[held_out] = probabilities

    def part(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Validation:
        """Some of the recordings, by a mask (n,) or by places."""
        places = np.arange(len(self))[chosen]
        values = {name: getattr(self, name)[places] for name in ARRAYS}
        texts: dict[str, Any] = {name: tuple(getattr(self, name)[place] for place in places) for name in NAMES}
        return Validation(**texts, **values)

    @property
    def validated(self) -> Validation:
        """The recordings that a network has answered."""
        return self.part(self.folds >= 0)

    def save(self, folder: Path) -> None:
        """Writes it to a model folder, whole."""
        arrays = {name: np.ascontiguousarray(getattr(self, name)) for name in ARRAYS}
        with atomic_write(folder / FILE) as handle:
            # one entry, since safetensors writes several in an order that differs from run to run
            handle.write(save(arrays, {"texts": json.dumps({name: getattr(self, name) for name in NAMES})}))


ARRAYS = tuple(field.name for field in fields(Validation) if field.name not in NAMES)


def load_validation(folder: Path) -> Validation:
    """What `Validation.save` wrote. Raises ValueError that names the file where it is damaged, OSError where it cannot
    be read."""
    path = folder / FILE
    content = path.read_bytes()
    try:
        arrays: dict[str, Any] = load(content)
        metadata = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
        stored = json.loads(metadata["texts"])
        texts: dict[str, Any] = {name: tuple(map(str, stored[name])) for name in NAMES}
        validation = Validation(**texts, **arrays)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: damaged, {error}") from None
    if any(len(getattr(validation, name)) != len(validation) for name in (*NAMES, *ARRAYS)) or validation.labels.shape[
        1:
    ] != (len(CODES),):
        raise ValueError(f"{path}: damaged, its arrays are not of the same recordings")
    return validation
