"""Part variants: measure other implementations of a training step. One that does not start is reported, no more."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from benchmarks.gpu import speed
from benchmarks.gpu.fast import HELD_OUT, Course
from benchmarks.gpu.material import recipes
from benchmarks.gpu.setting import Check, Finding, Setting
from leadwise.network.gpu_forward import ChannelsLastNetwork
from leadwise.network.se_resnet import SEResNet
from leadwise.training.fold_state import FoldState

Variant = Callable[[Course, FoldState], None]  # changes the state of a training before its first step


class Graphed(nn.Module):
    """`ChannelsLastNetwork` as a module, as recording CUDA graphs requires."""

    def __init__(self, network: SEResNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, signal: Tensor, auxiliary: Tensor) -> Tensor:
        """Return logits (batch, classes)."""
        return ChannelsLastNetwork(self.network)(signal, auxiliary)


def _plain(course: Course, state: FoldState) -> None:
    state.networks.forward = state.networks.network


def _channels_last(course: Course, state: FoldState) -> None:
    state.networks.forward = ChannelsLastNetwork(state.networks.network)


def _compiled(course: Course, state: FoldState) -> None:
    state.networks.forward = _compile(course, state.networks.network)


def _compiled_channels_last(course: Course, state: FoldState) -> None:
    state.networks.forward = _compile(course, Graphed(state.networks.network))


def _compile(course: Course, module: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    """Compile a module; a rehearsal only traces it, since the compiler takes a minute."""
    compiled: Callable[[Tensor, Tensor], Tensor]
    if course.setting.rehearse:
        compiled = torch.compile(module, backend="eager", dynamic=False)
    else:
        compiled = torch.compile(module, dynamic=False)
    return compiled


def _not_fused(course: Course, state: FoldState) -> None:
    training = course.recipe.training
    state.optimiser = torch.optim.Adam(
        state.networks.network.parameters(), training.learning_rate, training.betas, weight_decay=training.weight_decay,
        foreach=True,
    )  # fmt: skip


def _graphs(course: Course, state: FoldState) -> None:
    """Record forward and backward pass as CUDA graphs; recording must not change the batch norms."""
    before = {name: value.clone() for name, value in state.networks.network.named_buffers()}
    size, recipe = course.recipe.training.batch_size, course.recipe
    signal = torch.zeros(size, recipe.network.leads, recipe.signal.window, device=course.setting.device)
    auxiliary = torch.zeros(size, recipe.network.demographics, device=course.setting.device)
    state.networks.network.train()
    dtype = state.processor.dtype
    # with autocast's cache, a graph would keep the weights that were cast once
    with torch.autocast(course.setting.device.type, dtype, cache_enabled=False):
        graphed = torch.cuda.make_graphed_callables(Graphed(state.networks.network), (signal, auxiliary))
    for name, value in state.networks.network.named_buffers():
        value.copy_(before[name])

    def forward(windows: Tensor, auxiliary: Tensor) -> Tensor:
        with torch.autocast(windows.device.type, dtype, cache_enabled=False):
            result: Tensor = graphed(windows, auxiliary)
        return result

    state.networks.forward = forward


VARIANTS: dict[str, Variant] = {
    "conv2d, channels last": _channels_last,
    "conv1d": _plain,
    "optimiser not fused": _not_fused,
    "CUDA graphs": _graphs,
    "torch.compile of conv1d": _compiled,
    "torch.compile of conv2d": _compiled_channels_last,
}


def variants(setting: Setting) -> Iterator[Finding]:
    """Measure each variant with batches of 64 in bf16."""
    course = Course.of(setting, recipes(setting.rehearse)[0], HELD_OUT)
    for name, change in VARIANTS.items():
        yield _measured(course, name, change)
        torch.compiler.reset()
        gc.collect()
        torch.cuda.empty_cache()


def _measured(course: Course, name: str, change: Variant) -> Finding:
    try:
        state = course.state("bf16")
        change(course, state)
        batches = course.setting.few(60, 2)
        size = course.recipe.training.batch_size
        found = speed.train(course.setting, state, course.examples, batches * size)
    except Exception as error:  # compilers raise anything; the other variants are still measured
        reason = (str(error).strip().splitlines() or [""])[0]
        return Finding(name, True, f"does not start: {type(error).__name__}: {reason}", {"starts": False})
    return Finding(name, True, str(found), found.numbers() | {"starts": True})


CHECKS: tuple[Check, ...] = (variants,)
