"""Folds are stratified by diagnosis and source, and keep patients together."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadwise.data.dataset import NO_DIAGNOSIS
from leadwise.data.folds import assign_folds, patient_groups, stratify
from tests.data.recordings import in_memory


def test_incart_recordings_of_one_patient_are_one_group() -> None:
    names = ("I0001", "I0002", "I0003", "I0004", "A0001")
    people = ((65.0, "female"), (65.0, "female"), (65.0, "male"), (65.0, "female"), (65.0, "female"))
    groups = patient_groups(names, [name[0] for name in names], people)
    assert groups == ("I0001", "I0001", "I0003", "I0004", "A0001")
    assert patient_groups(names[1::-1], ["I", "I"], people[:2]) == ("I0001", "I0001")  # whatever the order


def test_each_class_is_distributed_evenly_over_the_folds_of_each_source() -> None:
    random = np.random.default_rng(3)
    labels = random.random((3000, 24)) < random.uniform(0.002, 0.3, 24)
    labels[~labels.any(1), 0] = True
    sources = random.choice(["A", "E", "HR"], 3000, p=[0.2, 0.3, 0.5]).tolist()
    folds = assign_folds(in_memory(labels, sources), 5, 2020)
    for source in ("A", "E", "HR"):
        members = np.array(sources) == source
        sizes = np.bincount(folds[members], minlength=5)
        assert np.ptp(sizes) <= 0.04 * members.sum()
        counts = np.array([labels[members & (folds == fold)].sum(0) for fold in range(5)])
        # as even as undivided recordings allow, with a margin for classes that occur together with rarer ones
        assert (np.ptp(counts, axis=0) <= 2 + 0.1 * counts.sum(0)).all()


def test_folds_are_reproducible_and_depend_on_the_seed() -> None:
    labels = np.random.default_rng(3).random((300, 24)) < 0.1
    dataset = in_memory(labels, ["A"] * 300)
    np.testing.assert_array_equal(assign_folds(dataset, 5, 2020), assign_folds(dataset, 5, 2020))
    assert (assign_folds(dataset, 5, 2020) != assign_folds(dataset, 5, 2021)).any()


@settings(max_examples=30)
@given(st.integers(2, 5), st.integers(10, 60), st.integers(0, 1000))
def test_patients_are_not_divided_and_no_fold_is_empty(folds: int, n: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    labels = random.random((n, 24)) < 0.2
    groups = [f"patient {index // 2}" for index in range(n)]
    assigned = assign_folds(in_memory(labels, ["I"] * n, groups), folds, seed)
    assert set(assigned) == set(range(folds))
    for patient in set(groups):
        assert len({assigned[index] for index in range(n) if groups[index] == patient}) == 1


def test_patients_without_any_label_are_distributed_evenly() -> None:
    assigned = stratify(np.zeros((20, 24), np.int64), np.ones(20, np.int64), 4, np.random.default_rng(0))
    assert np.bincount(assigned).tolist() == [5, 5, 5, 5]


def test_too_few_recordings_for_the_folds_says_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"at least 10 recordings.*, 9 can be used.*fewer folds"):
        assign_folds(in_memory(np.ones((9, 24), bool), ["A"] * 9), 5, 0)


@pytest.mark.parametrize("usable", [1, 2, 3, 9])
def test_too_few_recordings_for_the_folds_are_counted_with_those_left_out(usable: int) -> None:
    dataset = in_memory(np.ones((usable, 24), bool), ["A"] * usable)
    need = f"5 folds need at least 10 recordings with a scored diagnosis, {usable} can be used"
    advice = "give more recordings or fewer folds"
    with pytest.raises(ValueError, match=f"^{need}: {advice}$"):
        assign_folds(dataset, 5, 2020)
    reasons = {"B": NO_DIAGNOSIS, "C": "is cut off: 1 of 2 bytes", "D": "is cut off: 3 of 4 bytes"}
    with pytest.raises(ValueError, match=f"^{need}: {advice} .left out: 2 not usable .is cut off: ... of ... bytes.,"):
        assign_folds(dataclasses.replace(dataset, left_out=reasons), 5, 2020)


def test_a_fold_without_recordings_is_an_error_before_the_training() -> None:
    one_patient = in_memory(np.ones((4, 24), bool), ["I"] * 4, ["I0001"] * 4)
    with pytest.raises(ValueError, match=r"^1 of 2 folds would have no recordings"):
        assign_folds(one_patient, 2, 2020)
