"""Store the validation results of a training, each recording's by a network that was not trained on it."""

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
from leadwise.decision.lead_sets import REDUCED
from leadwise.util.files import atomic_write

FILE = "validation.safetensors"
NAMES = ("names", "sources")  # the fields of text
UNKNOWN, FEMALE, MALE = 0, 1, 2  # sex


@dataclass(frozen=True, eq=False)
class Validation:
    """The n recordings of a training, in the order of the data set."""

    names: tuple[str, ...]
    sources: tuple[str, ...]  # letter prefix of the name
    folds: NDArray[np.int8]  # (n,) fold that the recording validates; -1 if that fold has no network (yet)
    labels: NDArray[np.bool_]  # (n, 24)
    probabilities: NDArray[np.float32]  # (n, 24) by the network of the fold; NaN without one
    lead_set_probabilities: NDArray[np.float32]  # (n, reduced lead sets, 24), with their leads alone; NaN without them
    seconds: NDArray[np.float32]  # (n,) length
    frequencies: NDArray[np.float32]  # (n,) Hz, of the file
    steps: NDArray[np.float32]  # (n,) uV, ADC step; NaN if the signal does not show it
    ages: NDArray[np.float32]  # (n,) years; NaN if unknown
    sexes: NDArray[np.int8]  # (n,) UNKNOWN, FEMALE or MALE

    @classmethod
    def of(cls, dataset: Dataset, sampling_frequency: float) -> Validation:
        """Return the recordings of a data set with signals at `sampling_frequency` Hz, without results."""
        shape, age = dataset.labels.shape, 100 * dataset.auxiliary_features[:, 0]
        return cls(
            names=dataset.names,
            sources=dataset.sources,
            folds=np.full(len(dataset), -1, np.int8),
            labels=dataset.labels,
            probabilities=np.full(shape, np.nan, np.float32),
            lead_set_probabilities=_unknown_lead_sets(len(dataset)),
            seconds=(dataset.lengths / sampling_frequency).astype(np.float32),
            frequencies=dataset.acquisitions[:, 0].astype(np.float32),
            steps=dataset.acquisitions[:, 1].astype(np.float32),
            ages=np.where(age > 0, age, np.nan).astype(np.float32),  # 0: unknown
            sexes=(FEMALE * dataset.auxiliary_features[:, 2] + MALE * dataset.auxiliary_features[:, 3]).astype(np.int8),
        )

    def __len__(self) -> int:
        return len(self.names)

    def record(
        self,
        fold: int,
        held_out: NDArray[np.bool_],
        probabilities: NDArray[np.float32],
        lead_set_probabilities: NDArray[np.float32] | None = None,
    ) -> None:
        """Set the probabilities, (held out, 24) and (held out, reduced lead sets, 24), of the recordings of a mask."""
        self.folds[held_out] = fold
        self.probabilities[held_out] = probabilities
        if lead_set_probabilities is not None:
            self.lead_set_probabilities[held_out] = lead_set_probabilities

    def part(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Validation:
        """Return the recordings of a mask (n,) or of indices."""
        indices = np.arange(len(self))[chosen]
        values: dict[str, Any] = {name: getattr(self, name)[indices] for name in ARRAYS}
        return Validation(**values | {name: tuple(getattr(self, name)[k] for k in indices) for name in NAMES})

    @property
    def validated(self) -> Validation:
        """Return the recordings with probabilities."""
        return self.part(self.folds >= 0)

    def save(self, folder: Path) -> None:
        """Write the results to a model folder."""
        arrays = {name: np.ascontiguousarray(getattr(self, name)) for name in ARRAYS}
        with atomic_write(folder / FILE) as handle:
            # one metadata entry: safetensors writes several in an order that differs between runs
            handle.write(save(arrays, {"texts": json.dumps({name: getattr(self, name) for name in NAMES})}))


def _unknown_lead_sets(count: int) -> NDArray[np.float32]:
    return np.full((count, len(REDUCED), len(CODES)), np.nan, np.float32)


ARRAYS = tuple(field.name for field in fields(Validation) if field.name not in NAMES)


def load_validation(folder: Path) -> Validation:
    """Load what `Validation.save` wrote. Raises ValueError for a damaged file, OSError for an unreadable one."""
    path = folder / FILE
    content = path.read_bytes()
    try:
        arrays: dict[str, Any] = load(content)
        metadata = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
        stored = json.loads(metadata["texts"])
        count = len(stored["names"])  # older files lack these two:
        arrays.setdefault("steps", np.full(count, np.nan, np.float32))
        arrays.setdefault("lead_set_probabilities", _unknown_lead_sets(count))
        validation = Validation(**arrays | {name: tuple(map(str, stored[name])) for name in NAMES})
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: damaged, {error}") from None
    lengths = {len(getattr(validation, name)) for name in (*NAMES, *ARRAYS)}
    if len(lengths) > 1 or validation.labels.shape[1:] != (len(CODES),):
        raise ValueError(f"{path}: damaged, its arrays are not of the same recordings")
    return validation
