"""What makes the host wait for the GPU within the batch loop: by the profiler, and by PyTorch's own debug mode."""

from __future__ import annotations

from collections import Counter

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.setting import Setting
from benchmarks.gpu.speed import step
from leadwise.recipes import Recipe
from leadwise.training.epoch import train_batch, update_ema
from leadwise.training.examples import Examples
from leadwise.training.fold_state import FoldState

# cudaMemcpy (without Async) waits too; an item() of a tensor on the GPU shows as a stream's synchronisation
WAITING = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "cudaMemcpy")
FEW, MORE = 4, 12  # batches; fewer than the losses that are checked together


def synchronisations(setting: Setting, run: FoldState, examples: Examples, recipe: Recipe) -> dict[str, float]:
    """Return how often a batch of training waits, by the name of what waits.

    From two epochs of different length: what an epoch does once, at its beginning and end, cancels out.
    """
    step(run, examples, recipe, MORE * recipe.training.batch_size)
    few, more = (_events(setting, run, examples, recipe, batches) for batches in (FEW, MORE))
    names = [name for name in WAITING if few[name] or more[name]]
    return {name: (more[name] - few[name]) / (MORE - FEW) for name in names}


def _events(setting: Setting, run: FoldState, examples: Examples, recipe: Recipe, batches: int) -> Counter[str]:
    activities = [ProfilerActivity.CPU]
    if setting.device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities) as profiler:
        step(run, examples, recipe, batches * recipe.training.batch_size)
    return Counter({event.key: event.count for event in profiler.key_averages()})


def refused(setting: Setting, run: FoldState, examples: Examples, recipe: Recipe) -> str:
    """Return why three training steps fail where PyTorch is told to refuse whatever waits; empty where they do not."""
    size = recipe.training.batch_size
    batches = [torch.arange(size) % len(examples.host_lengths) for _ in range(4)]
    run.network.train()
    train_batch(run, examples, batches[0], torch.zeros(size, dtype=torch.long), recipe)
    setting.wait()
    cuda = setting.device.type == "cuda"
    try:
        if cuda:
            torch.cuda.set_sync_debug_mode("error")
        for steps, batch in enumerate(batches[1:], 1):
            train_batch(run, examples, batch, torch.zeros(size, dtype=torch.long), recipe)
            if run.ema_network is not run.network:
                update_ema(run.ema_network, run.network, recipe.training.average, steps)
    except RuntimeError as error:
        return str(error).splitlines()[0]
    finally:
        if cuda:
            torch.cuda.set_sync_debug_mode("default")
    return ""
