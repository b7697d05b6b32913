"""A prediction has a label and a probability for each diagnosis, or the training prior and the reason."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest

from leadwise.model.ensemble import Model, load_model
from leadwise.model.scoring import score_arrays
from tests.bad_input import GOOD, TEXT
from tests.model.models import PRIOR, write_model, write_model_with_simulation_network


@pytest.fixture
def model(tmp_path: Path) -> Model:
    write_model(tmp_path)
    return load_model(tmp_path)


def test_a_usable_recording_has_labels_and_probabilities_and_no_error(model: Model) -> None:
    prediction = score_arrays(model, TEXT, GOOD)
    assert (prediction.error, prediction.reason, prediction.out_of_distribution) == (None, None, False)
    assert prediction.labels.shape == prediction.scores.shape == (24,) and prediction.labels.any()
    assert ((prediction.scores >= 0) & (prediction.scores <= 1)).all()


def test_an_unusable_recording_has_the_prior_and_an_error_with_its_reason(model: Model) -> None:
    prediction = score_arrays(model, TEXT, np.zeros_like(GOOD))
    assert prediction.reason == "is flat in every lead"
    assert prediction.error and prediction.error.source and prediction.error.reason == prediction.reason
    np.testing.assert_array_equal(prediction.scores, PRIOR.scores[0])
    np.testing.assert_array_equal(prediction.labels, PRIOR.labels[0])


def test_an_unknown_acquisition_profile_is_out_of_distribution(tmp_path: Path) -> None:
    write_model_with_simulation_network(tmp_path)  # without acquisition profiles
    assert score_arrays(load_model(tmp_path), TEXT, GOOD).out_of_distribution


def test_a_prediction_cannot_be_changed(model: Model) -> None:
    with pytest.raises(FrozenInstanceError):
        score_arrays(model, TEXT, GOOD).error = "none"  # type: ignore[misc]
