"""Predict the validation recordings of a fold with its EMA network."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leadwise.data.dataset import Dataset
from leadwise.data.reduced_leads import keep_leads
from leadwise.decision.lead_sets import LEAD_SETS, REDUCED
from leadwise.ecg.preprocessing import prediction_windows
from leadwise.network.transfers import send
from leadwise.training.examples import Examples
from leadwise.training.fold_state import FoldState
from leadwise.training.interrupt import check_interrupt
from leadwise.util.progress import log

CHUNK = 512  # recordings whose signals are copied to hide leads


@torch.inference_mode()
def predict(
    state: FoldState, examples: Examples, lengths: NDArray[np.int64], members: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return the probabilities (members, 24) of some of the recordings (lengths: (n,)), means over test windows."""
    state.networks.ema_network.eval()
    table = torch.from_numpy(prediction_windows(lengths[members].tolist(), state.recipe.signal))
    total_weights = torch.bincount(table[:, 0], table[:, 2], minlength=len(members)).float().unsqueeze(1)
    table, indices = state.group.shard(table), torch.from_numpy(members)
    total = torch.zeros(len(members), state.recipe.network.classes, dtype=torch.float32, device=examples.device)
    first = 0
    while first < len(table):
        owners, offsets, weights = table[first : first + state.progress.validation_batch].unbind(1)
        try:
            probabilities = _probabilities(state, examples, indices[owners], offsets)
        except torch.OutOfMemoryError:
            if state.progress.validation_batch == 1:
                raise
            probabilities = None
        if probabilities is None:  # outside the handler, which holds on to the tensors of the failed step
            state.progress.validation_batch //= 2
            torch.cuda.empty_cache()
            log.warning("out of memory: %d windows at a time in validation", state.progress.validation_batch)
            continue
        weighted = probabilities * send(weights, total.device).unsqueeze(1)
        total.index_add_(0, send(owners, total.device), weighted)
        first += len(owners)
        check_interrupt()
    return (state.group.all_reduce(total).cpu() / total_weights).numpy()


def predict_lead_sets(state: FoldState, dataset: Dataset, members: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the probabilities (members, lead sets, 24) of recordings in ascending order with the leads of each of
    `REDUCED` alone."""
    chunks = []
    for first in range(0, len(members), CHUNK):
        part = dataset.subset(np.isin(np.arange(len(dataset)), members[first : first + CHUNK]))
        of_sets = []
        for name in REDUCED:
            reduced = keep_leads(part, LEAD_SETS[name])
            examples = Examples.of(reduced, state.processor.device)
            of_sets.append(predict(state, examples, reduced.lengths, np.arange(len(part))))
        chunks.append(np.stack(of_sets, axis=1))
    return np.concatenate(chunks)


def _probabilities(state: FoldState, examples: Examples, batch: Tensor, offsets: Tensor) -> Tensor:
    windows = examples.windows(batch, offsets, state.recipe.signal.window)
    with state.processor.autocast():
        logits = state.networks.ema_forward(windows, examples.auxiliary[send(batch, examples.device)])
    return torch.sigmoid(logits.float())
