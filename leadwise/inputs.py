"""Turn what a caller has at hand (paths, arrays, tables, lists of them) into recordings that can be read."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import partial
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from leadwise.ecg.discovery import record_name
from leadwise.ecg.header import MAX_AGE, MAX_FREQUENCY, MILLIVOLTS, MIN_FREQUENCY, Header, LeadHeader, Sex, parse_sex
from leadwise.ecg.lead_names import parse_lead_names
from leadwise.ecg.plausibility import likely_unit, size_samples, typical_size
from leadwise.ecg.reading import read_ecg
from leadwise.ecg.recording import Recording, recording_from_counts
from leadwise.ecg.repairs import RecordingError

COUNTS_PER_MV: Final = 1000.0  # of the Challenge's files
UNITS: Final = ("V", "mV", "uV")
WANTED: Final = (
    "a path, an array of numbers (leads, samples) or (ECGs, leads, samples), a table whose columns or keys are lead"
    " names, a Recording, or a list of one of these"
)
T = TypeVar("T")
_UNKNOWN_SEXES = frozenset({"", "unknown", "nan", "none"})


@dataclass(frozen=True)
class Item:
    """One ECG of a call."""

    name: str
    source: str  # for errors: the file, or the name
    read: Callable[[], Recording]
    in_memory: bool = True


@dataclass(frozen=True, kw_only=True)
class Details:
    """What a caller says about arrays: one value for all of them, or a sequence with one for each."""

    sampling_frequency: Any = None  # Hz
    lead_names: Any = None
    unit: Any = None  # "V", "mV" or "uV"; by default floats are mV, integers uV
    age: Any = None  # years
    sex: Any = None  # "female" or "male"
    name: Any = None

    def of_each(self, count: int) -> list[Details]:
        """Return the details of each of several arrays. Raises ValueError for sequences of another length."""
        columns = {field.name: self._spread(field.name, count) for field in fields(self)}
        return [Details(**{name: column[index] for name, column in columns.items()}) for index in range(count)]

    def _spread(self, name: str, count: int) -> list[Any]:
        value = getattr(self, name)
        if value is None or isinstance(value, str) or (name != "lead_names" and np.ndim(value) == 0):
            return [value] * count
        values = list(value)
        if name == "lead_names" and all(isinstance(one, str) for one in values):
            return [values] * count
        if len(values) != count:
            raise ValueError(f"{name}: {len(values)} values for {count} ECGs")
        return values


@dataclass(frozen=True)
class Call:
    """The ECGs of a call of the library, and how to go through them."""

    items: list[Item]
    single: bool
    raising: bool  # an unusable recording is an exception
    shown: bool  # the progress bar
    batch_size: int

    @classmethod
    def of(
        cls, ecg: Any, details: Details, errors: str | None, progress: bool | None, batch_size: int, jobs: int
    ) -> Call:
        """Check the arguments of a call. Raises ValueError, which says what is wanted."""
        if errors not in (None, "raise", "return"):
            raise ValueError(f"errors is 'raise' or 'return', not {errors!r}")
        for name, count in (("batch_size", batch_size), ("jobs", jobs)):
            if not isinstance(count, Integral) or count < 1:
                raise ValueError(f"{name} is a whole number from 1, not {count!r}")
        items, single = items_of(ecg, details)
        raising = single if errors is None else errors == "raise"
        # no bar in a log file, but in a notebook, whose stderr is no terminal either
        shown = not single and (sys.stderr.isatty() or "ipykernel" in sys.modules) if progress is None else progress
        return cls(items, single, raising, shown, 1 if single else int(batch_size))

    @property
    def in_memory(self) -> bool:
        """Return whether nothing is read from files."""
        return all(item.in_memory for item in self.items)

    @property
    def readers(self) -> list[tuple[str, Callable[[], Recording]]]:
        """Return for each ECG its file or name, for errors, and the function that reads it."""
        return [(item.source, item.read) for item in self.items]

    def each(self, found: Iterable[T], error_of: Callable[[T], RecordingError | None]) -> Iterator[tuple[Item, T]]:
        """Yield each ECG with what was found, under a progress bar; raise its error if the call says so."""
        bar = tqdm(found, "scoring", len(self.items), unit=" recordings", disable=not self.shown)
        for item, value in zip(self.items, bar, strict=True):
            if self.raising and (error := error_of(value)) is not None:
                raise error
            yield item, value


def items_of(ecg: Any, details: Details) -> tuple[list[Item], bool]:
    """Return the ECGs of a call, and whether it is about a single one. Raises ValueError, which says what is wanted."""
    if _is_one(ecg):
        return [_item(ecg, details, "array")], True
    items = _several(ecg)
    if not items:
        return [], False
    if all(map(_is_path, items)):
        _refuse_details(details)
        each = details.of_each(len(items))
        return [_path_item(item, own) for item, own in zip(items, each, strict=True)], False
    owns = details.of_each(len(items))
    return [
        _item(item, own, f"array {index}") for index, (item, own) in enumerate(zip(items, owns, strict=True))
    ], False


def _is_path(value: object) -> bool:
    return isinstance(value, (str, os.PathLike))


def _is_table(value: object) -> bool:
    return isinstance(value, Mapping) or (hasattr(value, "columns") and hasattr(value, "to_numpy"))


def _is_one(value: Any) -> bool:
    return _is_path(value) or isinstance(value, Recording) or _is_table(value) or (_dimensions(value) == 2)


def _dimensions(value: Any) -> int:
    """Return the number of dimensions of an array or of nested lists of numbers; -1 for anything else."""
    if hasattr(value, "__array__"):
        return int(np.ndim(value))
    if isinstance(value, (list, tuple)) and value:
        inner = _dimensions(value[0])
        return -1 if inner < 0 else inner + 1
    return 0 if isinstance(value, Real) else -1


def _several(ecg: Any) -> list[Any]:
    """Return the ECGs in a list, an iterator or an array of three dimensions."""
    if _dimensions(ecg) not in (-1, 3) or isinstance(ecg, bytes) or not isinstance(ecg, Iterable):
        raise ValueError(f"an ECG is {WANTED}; not {_described(ecg)}")
    items = list(ecg)
    paths = sum(map(_is_path, items))
    wrong = next((item for item in items if not _is_one(item)), None)
    if wrong is not None or paths not in (0, len(items)):
        raise ValueError(f"several ECGs are a list of paths or of arrays; in it: {_described(wrong)}")
    return items


def _described(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return f"{type(value).__name__}{f' of shape {tuple(shape)}' if shape is not None else ''}"


def _names(details: Details) -> list[str]:
    return [field.name for field in fields(details) if getattr(details, field.name) is not None]


def _refuse_details(details: Details) -> None:
    given = [name for name in _names(details) if name != "sampling_frequency"]
    if given:
        raise ValueError(f"{', '.join(given)}: only for arrays; a file says it itself")


def _path_item(path: Any, details: Details) -> Item:
    """Return the item of a file; the sampling frequency is used if the file does not state one."""
    path, frequency = Path(path), details.sampling_frequency
    frequency = None if frequency is None else _frequency(frequency)
    return Item(record_name(path), str(path), partial(read_ecg, path, frequency), in_memory=False)


def _item(ecg: Any, details: Details, default_name: str) -> Item:
    if _is_path(ecg):
        _refuse_details(details)
        return _path_item(ecg, details)
    if isinstance(ecg, Recording):
        return Item(ecg.name, ecg.name, lambda: ecg)
    name = str(details.name or default_name)
    values, names = _values_and_names(ecg, details.lead_names)
    frequency, age, sex = _frequency(details.sampling_frequency), _age(details.age), _sex(details.sex)
    leads = tuple(LeadHeader(lead, "array.mat", "16", COUNTS_PER_MV, 0) for lead in names)
    header = Header(name, frequency, None, leads, age, sex, (), ())
    if details.unit not in (None, *UNITS):
        raise ValueError(f"unit {details.unit!r} is none of {', '.join(UNITS)}")
    return Item(name, name, partial(_read_array, header, values, details.unit))


def _read_array(header: Header, values: NDArray[Any], unit: str | None) -> Recording:
    """Return the recording of an array (leads, samples) or transposed, as of a file with 1000 counts per mV. Raises
    RecordingError, also without `unit` for values that no ECG in mV (floats) or uV (integers) has."""
    if unit == "uV" or (unit is None and values.dtype.kind in "iu"):
        counts = values
    else:
        counts = values.astype(np.float64) * (COUNTS_PER_MV * MILLIVOLTS[unit or "mV"])
    if unit is None:
        _check_unit(header, counts, "mV" if values.dtype.kind == "f" else "uV")
    return recording_from_counts(header, counts)


def _check_unit(header: Header, counts: NDArray[Any], assumed: str) -> None:
    known = [row for row, name in enumerate(parse_lead_names([lead.name for lead in header.leads])) if name.lead]
    rows = counts if counts.shape[0] == len(header.leads) else counts.T
    size = typical_size((rows[known] if known else rows)[:, size_samples(rows.shape[1])] / COUNTS_PER_MV)
    if unit := likely_unit(size):
        reason = f"a typical size of {size:.2g} mV is no ECG's in {assumed}: are the values {unit}? Say which by unit="
        raise RecordingError(header.name, reason)


def _values_and_names(ecg: Any, lead_names: Any) -> tuple[NDArray[Any], list[str]]:
    """Return an array of numbers and the names of its leads. Raises ValueError."""
    columns: Any = None
    if isinstance(ecg, Mapping):
        columns, ecg = list(ecg), _stacked(ecg)
    elif _is_table(ecg):
        columns, ecg = list(ecg.columns), ecg.to_numpy().T
    names = columns if lead_names is None else [lead_names] if isinstance(lead_names, str) else list(lead_names)
    if names is None:
        raise ValueError("an array needs sampling_frequency (Hz) and lead_names")
    if lead_names is not None and not all(isinstance(name, str) for name in names):
        raise ValueError(f"lead names are words such as 'aVR', not {names!r}")
    values = _numbers(ecg)
    if len(names) not in values.shape:
        raise ValueError(f"{len(names)} lead names for an array of {values.shape[0]} leads, {values.shape[1]} samples")
    return values, list(map(str, names))


def _stacked(table: Mapping[Any, Any]) -> NDArray[Any]:
    leads = [_numbers(lead, dimensions=1) for lead in table.values()]
    if len({len(lead) for lead in leads}) != 1:
        raise ValueError(f"the leads of a table have one length, not {sorted({len(lead) for lead in leads})}")
    return np.stack(leads)


def _numbers(values: Any, dimensions: int = 2) -> NDArray[Any]:
    """Return an array of integers or floats; masked samples become NaN."""
    if hasattr(values, "detach"):  # a tensor, perhaps on a GPU
        values = values.detach().cpu()
    if isinstance(values, np.ma.MaskedArray):
        values = np.ma.filled(values.astype(np.float64), np.nan)
    try:
        array = np.asarray(values)
        array = array.astype(np.float64) if array.dtype.kind == "O" else array
    except (TypeError, ValueError):
        raise ValueError(f"an ECG is an array of numbers (leads, samples), not {_described(values)}") from None
    if array.dtype.kind not in "iuf" or array.ndim != dimensions:
        raise ValueError(f"an ECG is an array of numbers (leads, samples), not {array.dtype} {array.shape}")
    return array


def _frequency(value: Any) -> float:
    if value is None:
        raise ValueError("an array needs sampling_frequency (Hz) and lead_names")
    try:
        frequency = float(value)
    except (TypeError, ValueError):
        frequency = math.nan
    if not MIN_FREQUENCY <= frequency <= MAX_FREQUENCY:
        raise ValueError(f"sampling_frequency is {MIN_FREQUENCY:g} to {MAX_FREQUENCY:g} Hz, not {value!r}")
    return frequency


def _age(value: Any) -> float | None:
    try:
        age = math.nan if value is None else float(value)
    except (TypeError, ValueError):
        raise ValueError(f"age is a number of years, not {value!r}") from None
    if math.isnan(age):
        return None
    if not 0 <= age <= MAX_AGE:
        raise ValueError(f"age is 0 to {MAX_AGE:g} years, not {value!r}")
    return age


def _sex(value: Any) -> Sex | None:
    text = "" if value is None else str(value)
    sex = parse_sex(text)
    if sex is None and text.strip().lower() not in _UNKNOWN_SEXES:
        raise ValueError(f"sex is 'female', 'male' or None, not {value!r}")
    return sex
