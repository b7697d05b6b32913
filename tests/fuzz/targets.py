"""Define the fuzz targets: the readers of headers, signals, records and model folders.

Each target takes bytes, and raises AssertionError or the reader's own exception if a promise is broken: a reader raises
only its documented error, opens only the files of the record, and allocates at most a small multiple of the file's
size. `SEEDS` has the initial inputs of each target.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import resource
import sys
import tempfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io

from leadwise.ecg.files.matlab import MAX_INFLATION, MAX_SILENCE, read_matrix
from leadwise.ecg.header import MAX_LEADS, parse_header
from leadwise.ecg.recording import read_recording
from leadwise.ecg.repairs import REPAIRS, RecordingError, RepairLog, UnreadableError

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
COUNTS = np.arange(12 * 7, dtype=np.int16).reshape(12, 7) % 13
SEPARATOR = b"\n%%%\n"  # between the files of one input
MARGIN = 1 << 28  # bytes of address space that a reader may use beyond those of the process at its start

# --- Seeds


def _header(name: str = "A0001", ending: str = "mat", gain: str = "1000/mV") -> bytes:
    lines = [f"{name} 12 500 7 12-May-2020 12:33:59"]
    for lead, row in zip(LEADS, COUNTS, strict=True):
        form = "16+24" if ending == "mat" else "16"
        lines.append(f"{name}.{ending} {form} {gain} 16 0 {row[0]} {row.sum()} 0 {lead}")
    return "\n".join([*lines, "#Age: 74", "#Sex: Female", "#Dx: 59118001,426783006", ""]).encode()


def _saved(compressed: bool, **matrices: Any) -> bytes:
    file = BytesIO()
    scipy.io.savemat(file, matrices, do_compression=compressed)
    return file.getvalue()


def _version4() -> bytes:
    file = BytesIO()
    scipy.io.savemat(file, {"val": COUNTS}, format="4")
    return file.getvalue()


HEADERS = [
    _header(),
    _header("E00018", gain="4880/mV"),
    _header(gain="200.0(3)/uV").replace(b"500", b"500/500(0)"),
    _header().replace(b"\n", b"\r\n"),
]
SIGNALS = [
    _version4(),
    _saved(False, val=COUNTS),
    _saved(True, val=COUNTS),
    _saved(False, other="text", val=COUNTS.astype(float)),
    _saved(True, x=COUNTS.astype(np.int32), y=[[1, 2]]),
    _saved(False, ECG={"sex": "Male", "age": 74, "data": COUNTS / 8}),
]
WFDB = [form.replace(b" 16 ", b" %d " % code, 12) for code in (16, 212, 80) for form in [_header(ending="dat")]]

# --- Readers of recordings


def header(raw: bytes) -> None:
    """Read a header from bytes."""
    try:
        found = parse_header(raw)
    except RecordingError as error:
        assert "\n" not in str(error)
        return
    assert 0 < len(found.leads) <= MAX_LEADS and {repair.name for repair in found.repairs} <= set(REPAIRS)


def signal(raw: bytes) -> None:
    """Read a MATLAB file."""
    try:
        matrix = read_matrix(raw, 12, RepairLog()).matrix
    except UnreadableError:
        return
    assert matrix.nbytes <= MAX_INFLATION * len(raw) + MAX_SILENCE


opened: set[str] = set()  # files that this process opened since the set was cleared


def _record_open(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and isinstance(arguments[0], str | bytes):
        opened.add(os.fsdecode(arguments[0]))


def record(raw: bytes) -> None:
    """Read a recording: a header with a signal file, as MATLAB and as WFDB format."""
    head, _, body = raw.partition(SEPARATOR)
    folder = _folder()
    for ending, content in ((".hea", head), (".mat", body), (".dat", body)):
        Path(folder, f"A0001{ending}").write_bytes(content)
    opened.clear()
    try:
        read_recording(Path(folder, "A0001.hea"))
    except RecordingError as error:
        assert "llocate" not in error.reason and "MemoryError" not in error.reason, error
    # wfdb is given links in a folder of the reader; libraries may load their own files
    allowed = (folder, f"{tempfile.gettempdir()}/leadwise-", sys.prefix, sys.base_prefix)
    other = [path for path in opened if not path.startswith(allowed)]
    assert not other, other


_folders: list[tempfile.TemporaryDirectory[str]] = []


def _folder() -> str:
    """Return the folder of this process, in memory if possible."""
    if not _folders:
        importlib.import_module("wfdb")  # its import opens many files
        place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        _folders.append(tempfile.TemporaryDirectory(prefix="fuzz-", dir=place))
        tempfile.gettempdir()  # its first call writes a file
        sys.addaudithook(_record_open)
    return _folders[0].name


# --- The reader of model folders


def model(raw: bytes) -> None:
    """Load a model folder: model.json and one network, whose checksum is corrected."""
    from leadwise.model.ensemble import load_model
    from leadwise.model.folder import ModelError

    description, _, weights = raw.partition(SEPARATOR)
    folder = Path(_folder())
    checksum = hashlib.sha256(weights).hexdigest().encode()
    (folder / "model.json").write_bytes(description.replace(b"CHECKSUM", checksum))
    for name in ("fold0.safetensors", "simulation_network.safetensors"):
        (folder / name).write_bytes(weights)
    try:
        load_model(folder)
    except ModelError as error:
        assert "llocate" not in str(error), error


def _model_seeds() -> list[bytes]:
    """Return two models of one small network: one with thresholds, one with expected reward and a simulation-only
    network."""
    import torch

    from leadwise.challenge.classes import CODES
    from leadwise.decision.rules import Predictions
    from leadwise.model.folder import ModelMetadata, save_metadata, save_network
    from leadwise.network.se_resnet import SEResNet
    from leadwise.recipes import DecisionRecipe, NetworkRecipe, Recipe, SignalRecipe

    torch.set_num_threads(1)
    shape = NetworkRecipe(stem_channels=1, block_channels=(1, 2), reduction=1, demographic_features=1)
    recipe = Recipe("tiny", signal=SignalRecipe(window=64, overlap=8), network=shape)
    prior = Predictions(np.arange(24)[None] == 5, np.full((1, 24), 0.25))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checksum = save_network(folder, "fold0.safetensors", SEResNet(shape).state_dict())
        fold = {"file": "fold0.safetensors", "sha256": checksum, "thresholds": [0.5] * len(CODES)}
        save_metadata(folder, ModelMetadata(recipe, prior, [fold], {}))
        metadata = json.loads((folder / "model.json").read_text())
        weights = (folder / "fold0.safetensors").read_bytes()
    frequencies = {"target_prevalence": [0.1] * len(CODES), "label_prevalence": [0.1] * len(CODES)}
    calibration = {"temperature": 1.0, "shared_offset": 0.0, "offsets": [0.0] * len(CODES)}
    with_reward = metadata | {"folds": [fold | frequencies | {"calibration": calibration}]}
    with_reward["recipe"] = metadata["recipe"] | {
        "decision": vars(DecisionRecipe(method="reward", simulation_network=True))
    }
    with_reward["simulation_network"] = {
        "file": "simulation_network.safetensors",
        "sha256": checksum,
        "weight": 0.5,
    } | frequencies
    return [
        json.dumps(each).replace(checksum, "CHECKSUM").encode() + SEPARATOR + weights
        for each in (metadata, with_reward)
    ]


def limit_memory() -> None:
    """Limit the address space: an allocation beyond `MARGIN` raises MemoryError from now on."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MARGIN
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


TARGETS: dict[str, Callable[[bytes], None]] = {"header": header, "signal": signal, "record": record, "model": model}
SEEDS: dict[str, Callable[[], list[bytes]]] = {
    "header": lambda: HEADERS + WFDB,
    "signal": lambda: SIGNALS,
    "record": lambda: (
        [HEADERS[0] + SEPARATOR + body for body in SIGNALS]
        + [head + SEPARATOR + COUNTS.astype("<i2").tobytes("F") for head in WFDB]
    ),
    "model": _model_seeds,
}
