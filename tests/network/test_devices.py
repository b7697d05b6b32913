"""Which precision networks run in, on which processor."""

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
def test_a_cpu_computes_in_bf16_where_it_multiplies_faster_in_it(
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


def test_a_precision_that_is_asked_for_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_cpu_facts", lambda: ZEN4)
    assert choose_processor("cpu", "fp32").precision == "fp32"


def test_a_system_that_says_nothing_of_its_cpu_has_one_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices.Path, "read_text", lambda self, encoding: (_ for _ in ()).throw(OSError()))
    assert devices.CPU.name
    assert not devices.faster_in_bf16()
