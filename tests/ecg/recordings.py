"""Make and compare recordings and resampled signals for the tests of this folder."""

from __future__ import annotations

import math
from collections.abc import Iterable
from io import BytesIO
from typing import Any

import numpy as np
import scipy.io
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from leadwise.ecg.leads import SIGNAL_REPAIRS, STANDARD_LEADS, Signal
from leadwise.ecg.recording import Recording, recording_from_arrays
from leadwise.ecg.repairs import Repair
from leadwise.ecg.resampling import resampled_length
from tests.conftest import header_text


def make_recording(
    data: NDArray[np.generic],
    names: tuple[str, ...] = STANDARD_LEADS,
    frequency: float = 500.0,
    gains: tuple[str, ...] | None = None,
) -> Recording:
    gains = gains or ("1000/mV",) * len(names)
    lines = [f"X1 {len(names)} {frequency} {data.shape[1]}"]
    lines += [f"X1.mat 16+24 {gain} 16 0 0 0 0 {name}" for gain, name in zip(gains, names, strict=True)]
    return recording_from_arrays("\n".join(lines) + "\n#Age: 60\n#Sex: Female\n", data)


def random_counts(leads: int, samples: int, seed: int = 0) -> NDArray[np.int16]:
    return np.random.default_rng(seed).integers(-5000, 5000, (leads, samples)).astype(np.int16)


def repair_names(signal: Signal) -> set[str]:
    names = {repair.name for repair in signal.repairs}
    assert names <= set(SIGNAL_REPAIRS)
    return names


def names(repairs: Iterable[Repair]) -> list[str]:
    return [repair.name for repair in repairs]


def same(first: Recording, second: Recording) -> bool:
    """Return whether two recordings are equal in everything, bit for bit."""
    return (
        first.header == second.header
        and first.repairs == second.repairs
        and first.counts.dtype == second.counts.dtype
        and first.counts.shape == second.counts.shape
        and first.counts.tobytes() == second.counts.tobytes()
    )


def saved(version: str = "5", compressed: bool = False, **variables: Any) -> bytes:
    """Return the bytes of a MATLAB file written by SciPy."""
    stream = BytesIO()
    scipy.io.savemat(stream, variables, format=version, do_compression=compressed)
    return stream.getvalue()


# A good record, and random edits of its files.
MATRIX = np.arange(12 * 40, dtype=np.int16).reshape(12, 40)
HEADER = header_text("A0001", MATRIX).encode()
EDITS = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.sampled_from("=+-"), st.binary(max_size=3)), min_size=1, max_size=5
)
ANYTHING = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def mutated(raw: bytes, edits: list[tuple[float, str, bytes]]) -> bytes:
    """Return the bytes with some replaced, inserted or deleted."""
    for place, kind, new in edits:
        start = int(place * len(raw))
        end = start + (0 if kind == "+" else len(new) if kind == "=" else 1 + len(new))
        raw = raw[:start] + (b"" if kind == "-" else new) + raw[end:]
    return raw


def naive_linear(values: NDArray[np.generic], frequency: float, target: float) -> NDArray[np.float64]:
    """Interpolate lead by lead, as the authors' program does."""
    samples = values.shape[1]
    length = resampled_length(samples, frequency, target)
    source, wanted = np.linspace(0, samples, samples) / frequency, np.linspace(0, length, length) / target
    return np.stack([np.interp(wanted, source, lead) for lead in values])


def naive_polyphase(
    values: NDArray[np.floating], frequency: float, target: float, reach: float = 16
) -> NDArray[np.float64]:
    """Compute each output sample on its own: a Kaiser-windowed sinc over the mirrored signal, weights that sum to 1."""
    low = min(frequency, target)
    half = math.ceil(reach * frequency / low)
    samples = values.shape[1]
    mirrored = np.pad(values.astype(float), ((0, 0), (half, half)), "reflect")
    result = np.zeros((len(values), math.floor(samples * target / frequency + 1e-9)))
    for k in range(result.shape[1]):
        position = k * frequency / target
        taps = np.arange(math.floor(position) - half + 1, math.floor(position) + half + 1)
        distance = taps - position
        window = np.i0(5.65 * np.sqrt(np.maximum(1 - (distance / half) ** 2, 0)))
        weights = np.sinc(0.94 * low / frequency * distance) * window
        result[:, k] = mirrored[:, taps + half] @ (weights / weights.sum())
    return result
