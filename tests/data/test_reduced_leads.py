"""Recordings whose leads were hidden after preparation are those whose files lack them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from leadwise.challenge.classes import CODES
from leadwise.data.prepare import prepare_dataset
from leadwise.data.reduced_leads import keep_leads
from leadwise.decision.lead_sets import LEAD_SETS, REDUCED
from leadwise.ecg.lead_names import STANDARD_LEADS
from leadwise.ecg.preprocessing import auxiliary_features, prepare
from leadwise.ecg.recording import read_recording, recording_from_arrays
from leadwise.recipes import PAPER, ROBUST, Recipe
from tests.conftest import header_text
from tests.data.recordings import write


@pytest.mark.parametrize("recipe", [PAPER, ROBUST], ids=lambda recipe: recipe.name)
@pytest.mark.parametrize("name", REDUCED)
def test_hidden_leads_equal_those_that_a_file_lacks(recipe: Recipe, name: str, tmp_path: Path) -> None:
    for k in range(3):
        write(tmp_path / "data", f"A{k:04d}", CODES[k], samples=900 + 100 * k, seed=k)
    dataset = prepare_dataset(tmp_path / "data", tmp_path / "work", recipe.signal, 1)
    kept = keep_leads(dataset, LEAD_SETS[name])
    rows = [STANDARD_LEADS.index(lead) for lead in LEAD_SETS[name]]
    for k, record in enumerate(dataset.names):
        counts = read_recording(tmp_path / "data" / record).counts[rows]
        reduced = recording_from_arrays(header_text(record, counts, leads=LEAD_SETS[name]), counts)
        signal = prepare(reduced, recipe.signal)
        start, end = kept.starts[k], kept.starts[k] + kept.lengths[k]
        np.testing.assert_allclose(kept.samples[start:end].T, signal.values, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(
            kept.auxiliary_features[k, 5:], auxiliary_features(reduced.header, signal)[5:], atol=1e-5
        )
    assert np.array_equal(kept.labels, dataset.labels) and kept.names == dataset.names
    assert dataset.samples[0].all()  # nothing is changed in place
