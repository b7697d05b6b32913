"""Which part of the machine runs the networks, and in which precision. Knows no networks."""

from __future__ import annotations

import platform
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

ROOM = 0.5  # of a GPU's free memory: what prepared recordings may take of it, the rest is for networks and activations
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Processor:
    """A CPU or a GPU, and the type that convolutions and matrix products are computed in there."""

    device: torch.device
    dtype: torch.dtype = torch.float32

    def autocast(self) -> AbstractContextManager[object]:
        """The context in which networks run; weights, losses and sums stay in fp32."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    @property
    def name(self) -> str:
        """What a person calls it."""
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else _cpu_name()

    @property
    def precision(self) -> str:
        """Its type's name among `PRECISIONS`."""
        return next(name for name, dtype in PRECISIONS.items() if dtype == self.dtype)


CPU = Processor(torch.device("cpu"))


def choose_processor(device: str = "auto", precision: str = "auto", threads: int | None = None) -> Processor:
    """Return the processor for a device (auto, cpu, cuda) and a precision (auto, or a name of `PRECISIONS`).

    Limits the CPU threads of torch to `threads`, where given. `auto` takes CUDA where available; as precision bf16 on
    GPUs that compute in it, fp16 on older ones, and on a CPU bf16 where that is faster (`faster_in_bf16`), else fp32.
    Raises ValueError for an unknown name, and if CUDA is requested and not available.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device: {device!r} is not one of auto, cpu, cuda")
    if precision not in ("auto", *PRECISIONS):
        raise ValueError(f"precision: {precision!r} is not one of auto, {', '.join(PRECISIONS)}")
    if threads is not None:
        if threads < 1:
            raise ValueError(f"threads: {threads} is not a whole number of at least 1")
        torch.set_num_threads(threads)  # also where a GPU computes: the host's part should not take all cores
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("no CUDA device: torch finds none on this machine")
    cuda = device != "cpu" and torch.cuda.is_available()
    place = torch.device("cuda" if cuda else "cpu")
    processor = Processor(place, _dtype(precision, place))
    set_matrix_precision(processor)
    return processor


def _dtype(precision: str, device: torch.device) -> torch.dtype:
    """Return the type that a precision's name stands for on a device."""
    if precision != "auto":
        return PRECISIONS[precision]
    if device.type != "cuda":
        return torch.bfloat16 if faster_in_bf16() else torch.float32
    # 8.0 is Ampere; a T4 (7.5) has units for fp16 and none for bf16
    return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16


def set_matrix_precision(processor: Processor) -> None:
    """Set whether a GPU may round the inputs of fp32 products to TF32 (10 bits of mantissa, as fp16).

    In fp32 it may not: PyTorch's default would round those of convolutions, and fp32 would not be what it says. In bf16
    and fp16 it may: what stays in fp32 there (stem, gates, last layers) is rounded no coarser than all else.
    """
    if processor.device.type == "cuda":
        allowed = processor.dtype != torch.float32
        torch.backends.cuda.matmul.allow_tf32 = allowed
        torch.backends.cudnn.allow_tf32 = allowed


def tune_convolutions(processor: Processor) -> None:
    """Let cuDNN time its algorithms once for each shape of a convolution and keep the fastest one.

    For training, where shapes stay the same. Scoring has batches of any size, each of which would be timed anew. Which
    algorithm wins may change from run to run, and with it the last bits of the result.
    """
    if processor.device.type == "cuda":
        torch.backends.cudnn.benchmark = True


def fits(size: int, device: torch.device) -> bool:
    """Whether so many bytes of prepared recordings may lie in the device's memory; on a CPU they are there already."""
    if device.type != "cuda":
        return True
    # what PyTorch holds back from the fold before is free too: without it a later fold would be streamed for no reason
    held_back = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return size <= ROOM * (torch.cuda.mem_get_info(device)[0] + held_back)


def faster_in_bf16() -> bool:
    """Whether this CPU multiplies matrices faster in bf16: with matrix instructions (AMX), or AMD's with AVX-512-BF16.

    Told by the processor and not measured, so that a training that is carried on never changes its arithmetic. In
    AVX-512-BF16 an AMD EPYC did 202 GFLOP/s on one core against 94 in fp32, an Intel Xeon 164 on two against 313.
    """
    cpu = _cpu_facts()
    flags = set(cpu.get("flags", "").split())
    # Intel's AVX-512-BF16 is left out: there PyTorch's products were slower in it
    known = "amx_bf16" in flags or ("avx512_bf16" in flags and cpu.get("vendor_id") == "AuthenticAMD")
    return known and bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]


@cache
def peak_matrix_rate(processor: Processor) -> float:
    """Operations a second of a large matrix product in the processor's precision, the best of a few: the roof under
    which networks run. A multiplication and its addition are two operations."""
    # large enough to keep all of the device busy, and no larger
    size, times = (8192 if processor.device.type == "cuda" else 1024), []
    matrix = torch.full((size, size), 1 / size, dtype=processor.dtype, device=processor.device)
    product = torch.empty_like(matrix)
    for _ in range(5):
        start = time.perf_counter()
        torch.mm(matrix, matrix, out=product)
        product[0, 0].item()  # a GPU has done it by then
        times.append(time.perf_counter() - start)
    return 2 * size**3 / min(times)


def _cpu_name() -> str:
    """The CPU's name, as Linux tells it, else its architecture."""
    return _cpu_facts().get("model name") or platform.machine()


def _cpu_facts() -> dict[str, str]:
    """What Linux tells of the first core, by its own names; nothing on other systems."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return {}
    lines = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in lines}
