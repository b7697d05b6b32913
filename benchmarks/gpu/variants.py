"""The ways to compute a training step, each measured beside the default. One that does not start is told, no more."""

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

Variant = Callable[[Course, FoldState], None]  # changes a training that begins


class Graphed(nn.Module):
    """`ChannelsLastNetwork` as a module, which CUDA graphs are recorded of."""

    def __init__(self, network: SEResNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, signal: Tensor, demographics: Tensor) -> Tensor:
        """Logits (batch, classes)."""
        return ChannelsLastNetwork(self.network)(signal, demographics)


def _plain(course: Course, run: FoldState) -> None:
    run.forward = run.network


def _channels_last(course: Course, run: FoldState) -> None:
    run.forward = ChannelsLastNetwork(run.network)


def _compiled(course: Course, run: FoldState) -> None:
    run.forward = _compile(course, run.network)


def _compiled_channels_last(course: Course, run: FoldState) -> None:
    run.forward = _compile(course, Graphed(run.network))


def _compile(course: Course, module: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    """Compile a module; a rehearsal traces it and leaves out the compiler, which takes a minute."""
    compiled: Callable[[Tensor, Tensor], Tensor]
    if course.setting.rehearse:
        compiled = torch.compile(module, backend="eager", dynamic=False)
    else:
        compiled = torch.compile(module, dynamic=False)
    return compiled


def _not_fused(course: Course, run: FoldState) -> None:
    training = course.recipe.training
    run.optimiser = torch.optim.Adam(
        run.network.parameters(), training.learning_rate, training.betas, weight_decay=training.weight_decay,
        foreach=True,
    )  # fmt: skip


def _graphs(course: Course, run: FoldState) -> None:
    """Record forward and backward pass as CUDA graphs; recording must not leave its traces in the batch norms."""
    before = {name: value.clone() for name, value in run.network.named_buffers()}
    size, recipe = course.recipe.training.batch_size, course.recipe
    signal = torch.zeros(size, recipe.network.leads, recipe.signal.window, device=course.setting.device)
    people = torch.zeros(size, recipe.network.demographics, device=course.setting.device)
    run.network.train()
    dtype = run.processor.dtype
    # a graph would keep weights that autocast had cast once
    with torch.autocast(course.setting.device.type, dtype, cache_enabled=False):
        graphed = torch.cuda.make_graphed_callables(Graphed(run.network), (signal, people))
    for name, value in run.network.named_buffers():
        value.copy_(before[name])

    def forward(windows: Tensor, numbers: Tensor) -> Tensor:
        with torch.autocast(windows.device.type, dtype, cache_enabled=False):
            result: Tensor = graphed(windows, numbers)
        return result

    run.forward = forward


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
        run = course.run("bf16")
        change(course, run)
        batches = course.setting.few(60, 2)
        size = course.recipe.training.batch_size
        found = speed.train(course.setting, run, course.examples, course.recipe, batches * size)
    except Exception as error:  # whatever a compiler raises: the other variants are worth their lines
        reason = (str(error).strip().splitlines() or [""])[0]
        return Finding(name, True, f"does not start: {type(error).__name__}: {reason}", {"starts": False})
    return Finding(name, True, str(found), found.numbers() | {"starts": True})


CHECKS: tuple[Check, ...] = (variants,)
