"""The precision for each processor, and the memory for prepared recordings."""

from __future__ import annotations

import pytest
import torch

from leadwise.network import devices
from leadwise.network.devices import choose_processor

ZEN4 = {"vendor_id": "AuthenticAMD", "flags": "fpu avx512f avx512_bf16"}
SAPPHIRE_RAPIDS = {"vendor_id": "GenuineIntel", "flags": "fpu avx512f avx512_bf16 amx_bf16 amx_tile"}
WITHOUT_AMX = {"vendor_id": "GenuineIntel", "flags": "fpu avx512f avx512_bf16"}
OLDER = {"vendor_id": "AuthenticAMD", "flags": "fpu avx2"}


@pytest.mark.parametrize(
    ("facts", "precision"),
    [(ZEN4, "bf16"), (SAPPHIRE_RAPIDS, "bf16"), (WITHOUT_AMX, "fp32"), (OLDER, "fp32"), ({}, "fp32")],
)
def test_a_cpu_computes_in_bf16_if_that_is_faster(
    monkeypatch: pytest.MonkeyPatch, facts: dict[str, str], precision: str
) -> None:
    monkeypatch.setattr(devices, "_cpu_facts", lambda: facts)
    assert choose_processor("cpu").precision == precision


@pytest.mark.parametrize(("precision", "rounded"), [("fp32", False), ("bf16", True), ("fp16", True)])
def test_fp32_on_a_gpu_is_fp32(monkeypatch: pytest.MonkeyPatch, precision: str, rounded: bool) -> None:
    backends = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [backend.allow_tf32 for backend in backends]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    try:
        for backend in backends:
            backend.allow_tf32 = not rounded
        processor = choose_processor(precision=precision)
        assert processor.device.type == "cuda" and processor.precision == precision
        assert [backend.allow_tf32 for backend in backends] == [rounded, rounded]
    finally:
        for backend, allowed in zip(backends, before, strict=True):
            backend.allow_tf32 = allowed


def test_a_requested_precision_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_cpu_facts", lambda: ZEN4)
    assert choose_processor("cpu", "fp32").precision == "fp32"


def test_without_cpuinfo_the_cpu_has_a_name_and_computes_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices.Path, "read_text", lambda self, encoding: (_ for _ in ()).throw(OSError()))
    assert devices.CPU.name
    assert not devices.faster_in_bf16()


def test_recordings_may_fill_half_of_a_gpu_s_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 2000))
    assert devices.fits(500, torch.device("cuda")) and not devices.fits(501, torch.device("cuda"))
    assert devices.fits(10**15, torch.device("cpu"))


def test_memory_cached_by_pytorch_is_free_for_the_next_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (400, 2000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 700)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 100)
    assert devices.fits(500, torch.device("cuda")) and not devices.fits(501, torch.device("cuda"))
