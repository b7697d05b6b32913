"""Compute the logits of a model's networks with other engines, from one ONNX file: ONNX Runtime and OpenVINO.

Each engine has as many threads as PyTorch. Windows are padded with zeros to the whole length, as for the published
network: a graph of plain layers cannot leave out padding, since a shorter window has other means over time.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.baseline import WINDOW

# windows (n, 12, WINDOW) and demographics (n, 5) to logits (networks, n, 24)
Engine = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float32]]
BATCH = 4  # windows per request where there are many; the last request is filled up with zeros


class Ensemble(nn.Module):
    """Networks as one module, which maps windows (n, 12, WINDOW) to logits (networks, n, 24)."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, windows: Tensor, people: Tensor) -> Tensor:
        """Stack the logits of the networks."""
        return torch.stack([network(windows, people) for network in self.networks])


def export(networks: Sequence[nn.Module], file: Path) -> Path:
    """Write the networks as one ONNX file with inputs `windows` and `people` for any number of windows."""
    names = ["windows", "people"]
    torch.onnx.export(
        Ensemble(networks).eval(),
        (torch.zeros(1, 12, WINDOW), torch.zeros(1, 5)),
        file,
        input_names=names,
        dynamic_axes={name: {0: "count"} for name in names},
        dynamo=False,
    )
    return file


def missing(*packages: str) -> str | None:
    """Return which packages are not installed, as a sentence; None if all are."""
    absent = [name for name in packages if importlib.util.find_spec(name) is None]
    return f"{' and '.join(absent)} is not installed" if absent else None


def onnx_runtime(file: Path) -> Engine:
    """Return ONNX Runtime's engine, in fp32."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(file, settings, providers=["CPUExecutionProvider"])
    return lambda windows, people: session.run(None, {"windows": windows, "people": people})[0]  # type: ignore[no-any-return]


def openvino_has_bf16() -> bool:
    """Return whether OpenVINO computes in bf16 on this CPU; on others it would fall back to fp32."""
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def openvino_engine(file: Path, precision: str, batch: int) -> Engine:
    """Return OpenVINO's engine in fp32 or bf16 for `batch` windows per request.

    For one window all threads share each layer (LATENCY). For more, several requests are computed side by side
    (THROUGHPUT), which is the faster of the two there.
    """
    import openvino

    settings = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
        "PERFORMANCE_HINT": "LATENCY" if batch == 1 else "THROUGHPUT",
    }
    core = openvino.Core()
    graph = core.read_model(file)
    graph.reshape({"windows": [batch, 12, WINDOW], "people": [batch, 5]})
    requests = openvino.AsyncInferQueue(core.compile_model(graph, "CPU", settings))

    def compute(windows: NDArray[np.float32], people: NDArray[np.float32]) -> NDArray[np.float32]:
        parts: dict[int, NDArray[np.float32]] = {}
        requests.set_callback(lambda request, first: parts.update({first: request.get_output_tensor(0).data.copy()}))
        for first in range(0, len(windows), batch):
            part = [_fill(array[first : first + batch], batch) for array in (windows, people)]
            requests.start_async(part, first)
        requests.wait_all()
        return np.concatenate([parts[first] for first in sorted(parts)], 1)[:, : len(windows)]

    return compute


def _fill(array: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    return np.pad(array, [(0, count - len(array)), *[(0, 0)] * (array.ndim - 1)])
