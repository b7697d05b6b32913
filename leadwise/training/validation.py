"""One fold: windows, loop, schedule, validation, checkpoint. Knows no recordings' files and no model folder.

Everything that happens to a batch (cutting, padding) is one tensor operation on the training device, the same code on
a CPU and on a GPU. After each epoch the whole state of the run is written, so that a killed run goes on where it was.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leadwise.ecg.preprocessing import window_starts
from leadwise.network.transfers import send
from leadwise.recipes import Recipe
from leadwise.training.examples import Examples
from leadwise.training.fold_state import FoldRun
from leadwise.training.interrupt import check_stop
from leadwise.util.progress import log


def validation_windows(lengths: NDArray[np.int64], window: int, overlap: int) -> NDArray[np.int64]:
    """The test windows of all recordings, (windows, 2): which recording, first row."""
    starts = [window_starts(int(length), window, overlap) for length in lengths]
    owners = np.repeat(np.arange(len(lengths)), [len(these) for these in starts])
    return np.stack([owners, np.concatenate(starts)], axis=1)


@torch.inference_mode()
def predict(
    run: FoldRun, examples: Examples, lengths: NDArray[np.int64], members: NDArray[np.int64], recipe: Recipe
) -> NDArray[np.float32]:
    """Probabilities (members, 24): the mean over the test windows of each recording."""
    run.judged.eval()
    window = recipe.signal.window
    table = torch.from_numpy(validation_windows(lengths[members], window, recipe.signal.overlap))
    count = torch.bincount(table[:, 0], minlength=len(members)).unsqueeze(1)
    table, indices = run.group.share(table), torch.from_numpy(members)
    total = torch.zeros(len(members), recipe.network.classes, device=examples.device)
    first = 0
    while first < len(table):
        owners, offsets = table[first : first + run.validation_batch].unbind(1)
        try:
            probabilities = _probabilities(run, examples, indices[owners], offsets, window)
        except torch.OutOfMemoryError:
            if run.validation_batch == 1:
                raise
            probabilities = None
        if probabilities is None:
            run.validation_batch //= 2
            torch.cuda.empty_cache()
            log.warning("out of memory: %d windows at a time in validation", run.validation_batch)
            continue
        total.index_add_(0, send(owners, total.device), probabilities)
        first += len(owners)
        check_stop()
    return (run.group.add_up(total).cpu() / count).numpy()


def _probabilities(run: FoldRun, examples: Examples, batch: Tensor, offsets: Tensor, window: int) -> Tensor:
    windows, people = examples.windows(batch, offsets, window), examples.demographics[send(batch, examples.device)]
    with run.processor.autocast():
        logits = run.judged_forward(windows, people)
    return torch.sigmoid(logits.float())
