"""Find what makes the host wait for the GPU in the batch loop: by the profiler, and by PyTorch's debug mode."""

from __future__ import annotations

from collections import Counter

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.setting import Setting
from benchmarks.gpu.speed import step
from leadwise.training.epoch import train_batch
from leadwise.training.examples import Examples
from leadwise.training.fold_state import FoldState

# cudaMemcpy (without Async) waits too; item() of a tensor on the GPU appears as a stream synchronisation
WAITING = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "cudaMemcpy")
FEW, MORE = 4, 12  # batches; fewer than the losses that are checked together


def synchronisations(setting: Setting, state: FoldState, examples: Examples) -> dict[str, float]:
    """Return how often each blocking call occurs per training batch.

    Computed from two epochs of different length, so that the calls at the beginning and end of an epoch cancel out.
    """
    step(state, examples, MORE * state.recipe.training.batch_size)
    few, more = (_events(setting, state, examples, batches) for batches in (FEW, MORE))
    names = [name for name in WAITING if few[name] or more[name]]
    return {name: (more[name] - few[name]) / (MORE - FEW) for name in names}


def _events(setting: Setting, state: FoldState, examples: Examples, batches: int) -> Counter[str]:
    activities = [ProfilerActivity.CPU]
    if setting.device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities) as profiler:
        step(state, examples, batches * state.recipe.training.batch_size)
    return Counter({event.key: event.count for event in profiler.key_averages()})


def refused(setting: Setting, state: FoldState, examples: Examples) -> str:
    """Return the error of three training steps while PyTorch forbids blocking calls; empty if there is none."""
    training, networks = state.recipe.training, state.networks
    size = training.batch_size
    batches = [torch.arange(size) % len(examples.host_lengths) for _ in range(4)]
    offsets = torch.zeros(size, dtype=torch.long)
    networks.network.train()
    train_batch(state, examples, batches[0], offsets)
    setting.wait()
    cuda = setting.device.type == "cuda"
    try:
        if cuda:
            torch.cuda.set_sync_debug_mode("error")
        for steps, batch in enumerate(batches[1:], 1):
            train_batch(state, examples, batch, offsets)
            if training.ema_decay:
                networks.update_ema(training.ema_decay, steps)
    except RuntimeError as error:
        return str(error).splitlines()[0]
    finally:
        if cuda:
            torch.cuda.set_sync_debug_mode("default")
    return ""
