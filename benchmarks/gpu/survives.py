"""Part survives: show that training and scoring on the GPU recover from kills, little memory and a failing GPU."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.gpu.material import ROOT, random_dataset, random_windows, recipes, settled_network, trainable_folder
from benchmarks.gpu.setting import Check, Finding, Setting
from leadwise.model.ensemble import CpuFallback, load_model
from leadwise.network.devices import CPU
from leadwise.network.se_resnet import SEResNet
from leadwise.training.epoch import train_batch
from leadwise.training.examples import Examples
from leadwise.training.fold_state import FoldState
from leadwise.training.validation import predict

LOSSES = 0.3  # relative difference of the last losses of two trainings on a GPU, which round differently
LONGEST = 90.0  # seconds that a training may take
SHARE = 0.6  # of the memory that a batch needs


def killed(setting: Setting) -> Iterator[Finding]:
    """Kill a training (SIGKILL) after its first epoch, resume it, and compare with an uninterrupted one."""
    data, epochs = trainable_folder(setting), setting.few(12, 3)
    reference, model = setting.folder / "reference", setting.folder / "killed"
    command = (str(data), setting.device.type, str(epochs))
    _train(reference, *command)
    process = _start(model, *command)
    died = _kill_after_an_epoch(process, model)
    printed = _train(model, *command)
    histories = [_history(folder) for folder in (reference, model)]
    difference = abs(histories[1][-1]["loss"] / histories[0][-1]["loss"] - 1)
    bound = 0.0 if setting.rehearse else LOSSES
    resumed = "resumes after epoch" in printed
    ok = died and resumed and [len(each) for each in histories] == [epochs, epochs] and difference <= bound
    text = f"{'killed' if died else 'ended before it was killed'}, {'resumed' if resumed else 'not resumed'}, "
    text += f"{len(histories[1])} epochs; its last loss differs by {difference:.2g} (at most {bound:g})"
    yield Finding("a training killed and resumed", ok, text, {"loss": difference})


def _start(model: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.gpu.train", str(model), *arguments]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LEADWISE_")}
    return subprocess.Popen(command, cwd=ROOT, env=kept, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def _train(model: Path, *arguments: str) -> str:
    """Return the output of a training. Raises RuntimeError with its last line if it fails."""
    process = _start(model, *arguments)
    try:
        printed = process.communicate(timeout=LONGEST)[0]
    finally:
        process.kill()
    if process.returncode:
        raise RuntimeError(f"the training failed: {printed.strip().splitlines()[-1:]}")
    return printed


def _kill_after_an_epoch(process: subprocess.Popen[str], model: Path) -> bool:
    """Kill the training as soon as an epoch is saved; return whether it was killed before its end."""
    end = time.monotonic() + LONGEST
    while process.poll() is None and time.monotonic() < end:
        if any((model / "checkpoint").glob("fold0.*")):
            break
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def _history(model: Path) -> list[dict[str, Any]]:
    history: list[dict[str, Any]] = json.loads((model / "model.json").read_text())["folds"][0]["epochs"]
    return history


def too_little_memory(setting: Setting) -> Iterator[Finding]:
    """Train on a batch that does not fit into the memory of the process, then validate one."""
    recipe = recipes(setting.rehearse)[0]
    count = setting.few(256, 16)
    dataset = random_dataset(recipe, count)
    state, examples = _state_and_examples(setting, recipe, dataset)
    batch, offsets = torch.arange(count), torch.zeros(count, dtype=torch.long)

    def step() -> Tensor:
        return train_batch(state, examples, batch, offsets)

    def validate() -> Tensor:
        state.progress.validation_batch = count
        return torch.from_numpy(predict(state, examples, dataset.lengths, np.arange(count)))

    for name, call in (("training", step), ("validation", validate)):
        state.networks.network.train(name == "training")
        with _capped(setting, state, call):
            found = call()
        micro_batches, windows = state.progress.micro_batches, state.progress.validation_batch
        halved = micro_batches > 1 if name == "training" else windows < count
        text = f"a batch of {count} runs in {micro_batches} micro-batches"
        text = text if name == "training" else f"{windows} windows at a time instead of {count}"
        yield Finding(f"too little memory in {name}", halved and bool(found.isfinite().all()), text)


def _state_and_examples(setting: Setting, recipe: Any, dataset: Any) -> tuple[FoldState, Examples]:
    processor = setting.processor("fp32")
    state = FoldState.begin(recipe, 1, processor)
    networks = state.networks
    networks.forward = networks.ema_forward = setting.forward(networks.network, processor, recipe)
    return state, Examples.of(dataset, processor.device)


@contextmanager
def _capped(setting: Setting, state: FoldState, call: Callable[[], Tensor]) -> Iterator[None]:
    """Limit the memory in the block to less than `call` needs; a rehearsal makes large batches fail."""
    if setting.rehearse:
        networks, forward = state.networks, state.networks.forward
        networks.forward = networks.ema_forward = _limited(forward, 8)
        yield
        networks.forward = networks.ema_forward = forward
        return
    call()  # with all memory, to measure how much it needs
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    before, total = torch.cuda.memory_allocated(), torch.cuda.mem_get_info()[1]
    torch.cuda.reset_peak_memory_stats()
    call()
    needed = torch.cuda.max_memory_allocated() - before
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + SHARE * needed) / total)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def _limited(forward: Callable[[Tensor, Tensor], Tensor], most: int) -> Callable[[Tensor, Tensor], Tensor]:
    def limited(windows: Tensor, auxiliary: Tensor) -> Tensor:
        if len(windows) > most:
            raise torch.OutOfMemoryError("CUDA out of memory (rehearsed)")
        return forward(windows, auxiliary)

    return limited


def streamed(setting: Setting) -> Iterator[Finding]:
    """Cut the same windows from signals on the host and on the device."""
    recipe = recipes(setting.rehearse)[0]
    dataset, window = random_dataset(recipe, 128), recipe.signal.window
    resident, host = (Examples.of(dataset, setting.device, stream=stream) for stream in (False, True))
    generator = torch.Generator().manual_seed(1)
    batches = [torch.randint(128, (32,), generator=generator) for _ in range(8)]
    offsets = [torch.randint(-window, window, (32,), generator=generator) for _ in range(8)]
    for batch, places in zip(batches[:4], offsets[:4], strict=True):
        host.prefetch(batch, places, window)
    pairs = [
        (host.windows(batch, places, window), resident.windows(batch, places, window))
        for batch, places in zip(batches, offsets, strict=True)  # the last four were not prefetched
    ]
    same = sum(torch.equal(one, other) for one, other in pairs)
    yield Finding(
        "signals streamed from the host", same == 8, f"{same} of 8 batches of windows equal the resident ones"
    )


def failing(setting: Setting) -> Iterator[Finding]:
    """Make the GPU fail while it scores: the CPU computes the same recordings."""
    processor = setting.processor("fp32")
    model, expected = load_model(ROOT / "pretrained", processor), load_model(ROOT / "pretrained", CPU)
    recipe = model.recipe
    signals, auxiliary = [*random_windows(recipe, 6)[0].numpy()], random_windows(recipe, 6)[1].numpy()
    truth = expected.probabilities(signals, auxiliary)
    networks = tuple(settled_network(recipe) for _ in model.networks)
    for network in networks:
        network.register_forward_pre_hook(_fail)
    broken = replace(
        model,
        networks=networks,
        channels_last=False,
        stacked=None,
        cpu_fallback=model.cpu_fallback or CpuFallback(expected.networks),
    )
    found = [broken.probabilities(signals, auxiliary) for _ in range(2)]
    difference = max(float(np.abs(each - truth).max()) for each in found)
    text = f"the CPU continues; its probabilities differ from those of the CPU alone by {difference:.2g}"
    yield Finding("a GPU that fails while scoring", difference == 0, text, {"probabilities": difference})


def _fail(network: SEResNet, inputs: Any) -> None:
    raise RuntimeError("CUDA error: unspecified launch failure (injected)")


CHECKS: tuple[Check, ...] = (killed, too_little_memory, streamed, failing)
