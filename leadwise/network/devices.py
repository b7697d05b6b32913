"""Choose the CPU or GPU that runs the networks, and the precision."""

from __future__ import annotations

import platform
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from leadwise.util.processes import is_forked

RESIDENT_SHARE = 0.5  # of a GPU's free memory, for prepared recordings; the rest is for networks and activations
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Processor:
    """A CPU or GPU, and the data type of convolutions and matrix products on it."""

    device: torch.device
    dtype: torch.dtype = torch.float32
    threads: int | None = None  # CPU threads of torch; None: as many as there are now

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context in which networks run; weights, losses and sums stay in fp32."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    @property
    def name(self) -> str:
        """Return the model name of the CPU or GPU; the architecture, where the system names no CPU."""
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        return _cpu_facts().get("model name") or platform.machine()

    @property
    def precision(self) -> str:
        """Return the name of the data type in `PRECISIONS`."""
        return next(name for name, dtype in PRECISIONS.items() if dtype == self.dtype)


CPU = Processor(torch.device("cpu"))


def choose_processor(device: str = "auto", precision: str = "auto", threads: int | None = None) -> Processor:
    """Return the processor for a device (auto, cpu, cuda) and a precision (auto, or a name of `PRECISIONS`), and limit
    the CPU threads of torch. Raises ValueError for an unknown name, and if CUDA is requested and not available."""
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device: {device!r} is not one of auto, cpu, cuda")
    if precision not in ("auto", *PRECISIONS):
        raise ValueError(f"precision: {precision!r} is not one of auto, {', '.join(PRECISIONS)}")
    if threads is not None and threads < 1:
        raise ValueError(f"threads: {threads} is not a whole number of at least 1")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("no CUDA device: torch finds none on this machine")
    cuda = device != "cpu" and torch.cuda.is_available()
    if precision == "auto" and cuda:  # 8.0 is Ampere; a T4 (7.5) has units for fp16 and none for bf16
        precision = "bf16" if torch.cuda.get_device_capability() >= (8, 0) else "fp16"
    elif precision == "auto":
        precision = "bf16" if faster_in_bf16() else "fp32"
    processor = Processor(torch.device("cuda" if cuda else "cpu"), PRECISIONS[precision], threads)
    if threads is not None:
        torch.set_num_threads(threads)  # also where a GPU computes: the host's part should not take all cores
    set_matrix_precision(processor)
    use_one_thread_after_fork()
    return processor


def use_one_thread_after_fork() -> None:
    """Let torch compute in one thread in a process that was forked from the one that imported this module.

    The threads of OpenMP do not survive a fork: a child that shares work with them waits for ever.
    """
    if is_forked() and torch.get_num_threads() > 1:
        torch.set_num_threads(1)


def set_matrix_precision(processor: Processor) -> None:
    """Let a GPU round the inputs of fp32 products to TF32, with 10 bits of mantissa as fp16, but not in fp32."""
    if processor.device.type == "cuda":  # PyTorch's default would round those of convolutions in fp32 too
        allowed = processor.dtype != torch.float32
        torch.backends.cuda.matmul.allow_tf32 = allowed
        torch.backends.cudnn.allow_tf32 = allowed


def fits(size: int, device: torch.device) -> bool:
    """Return whether `size` bytes of prepared recordings may lie in the device's memory; always on a CPU."""
    if device.type != "cuda":
        return True
    # memory that PyTorch's allocator keeps from an earlier fold is free too
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return size <= RESIDENT_SHARE * (torch.cuda.mem_get_info(device)[0] + cached)


def faster_in_bf16() -> bool:
    """Return whether this CPU multiplies matrices faster in bf16: with AMX, or on AMD with AVX-512-BF16."""
    # flags, not a measurement: a resumed training must not change its precision. In AVX-512-BF16 an AMD EPYC did
    # 202 GFLOP/s on one core against 94 in fp32, an Intel Xeon 164 on two against 313
    cpu = _cpu_facts()
    flags = set(cpu.get("flags", "").split())
    fast = "amx_bf16" in flags or ("avx512_bf16" in flags and cpu.get("vendor_id") == "AuthenticAMD")
    return fast and bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]


@cache
def peak_matrix_rate(processor: Processor) -> float:
    """Measure the operations per second of a large matrix product, the best of five: a bound for networks."""
    # large enough to keep all of the device busy, and no larger
    size, times = (8192 if processor.device.type == "cuda" else 1024), []
    matrix = torch.full((size, size), 1 / size, dtype=processor.dtype, device=processor.device)
    product = torch.empty_like(matrix)
    for _ in range(5):
        start = time.perf_counter()
        torch.mm(matrix, matrix, out=product)
        product[0, 0].item()  # waits for a GPU
        times.append(time.perf_counter() - start)
    return 2 * size**3 / min(times)  # a multiplication and its addition are two


def _cpu_facts() -> dict[str, str]:
    """Read the fields of the first core in /proc/cpuinfo; empty on other systems than Linux."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return {}
    lines = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in lines}
