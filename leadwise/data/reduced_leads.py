"""Hide leads of prepared recordings, as if their files had never had them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from leadwise.data.dataset import Dataset
from leadwise.ecg.lead_names import STANDARD_LEADS
from leadwise.ecg.preprocessing import normalise_rms


def keep_leads(dataset: Dataset, leads: Sequence[str]) -> Dataset:
    """Return the recordings with the named leads alone, in memory: the others are zero, and a signal that was divided
    by its root mean square over the leads (auxiliary features (n, 6)) is divided by that of the remaining leads."""
    kept = np.array([lead in leads for lead in STANDARD_LEADS])
    lengths, features = dataset.lengths, dataset.auxiliary_features.copy()
    starts = np.cumsum(lengths) - lengths
    samples = np.empty((int(lengths.sum()), len(kept)), np.float32)
    for k, (start, length, source) in enumerate(zip(starts, lengths, dataset.starts, strict=True)):
        signal = samples[start : start + length]
        np.multiply(dataset.samples[source : source + length], kept, out=signal)
        if features.shape[1] == 6 and signal.any():
            features[k, 5] += np.float32(np.log(normalise_rms(signal.T)))
    return replace(dataset, samples=samples, starts=starts, auxiliary_features=features)
