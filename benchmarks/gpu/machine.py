"""Part machine: name the card and the versions, and measure the rates of matrix products."""

from __future__ import annotations

import platform
from collections.abc import Iterator

import torch

from benchmarks.gpu.setting import NO_GPU, Check, Finding, Setting
from benchmarks.gpu.speed import peak_matrix_rate
from leadwise.network.devices import CPU


def machine(setting: Setting) -> Iterator[Finding]:
    """Name the card and the versions."""
    if _is_missing(setting):
        yield Finding("machine", False, NO_GPU)
        return
    name, memory = CPU.name, 0
    if setting.device.type == "cuda":
        name, memory = torch.cuda.get_device_name(), torch.cuda.get_device_properties(0).total_memory
    metadata = {
        "card": name, "gib": memory / 2**30, "python": platform.python_version(), "torch": torch.__version__,
        "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version(),
    }  # fmt: skip
    text = f"{name}, {memory / 2**30:.0f} GiB, torch {torch.__version__}, CUDA {torch.version.cuda}"
    yield Finding("machine", True, text, metadata)


def rates(setting: Setting) -> Iterator[Finding]:
    """Measure the rate of matrix products in each precision."""
    if _is_missing(setting):
        return
    found = {}
    for precision in ("bf16", "fp16", "fp32"):
        setting.processor(precision)  # sets whether fp32 may be rounded to TF32
        found[precision] = peak_matrix_rate(setting, precision) / 1e12
    text = ", ".join(f"{precision} {rate:,.3g}" for precision, rate in found.items())
    yield Finding("matrix products", True, f"{text} TFLOP/s", found)


def _is_missing(setting: Setting) -> bool:
    return setting.device.type == "cuda" and not torch.cuda.is_available()


CHECKS: tuple[Check, ...] = (machine, rates)
