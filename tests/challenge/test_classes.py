"""Tests of the 24 diagnoses: order, equivalents, rewards, prevalence, look-up, labels."""

import numpy as np
import pytest

from leadwise.challenge.classes import (
    CODES,
    DATA_FOLDER,
    DIAGNOSES,
    EQUIVALENTS,
    EQUIVALENTS_2021,
    REWARDS,
    SINUS_RHYTHM,
    class_index,
    find_diagnosis,
    label_vector,
    proxy_label_vector,
    reference_prevalence,
    training_label_vector,
)


def weight_matrix():
    """Read header and rows of the Challenge's own file."""
    header, *rows = [line.split(",") for line in (DATA_FOLDER / "weights2020.csv").read_text().split()]
    return header[1:], {row[0]: row[1:] for row in rows}


def test_the_24_classes_are_in_the_order_of_the_weight_matrix():
    header, _ = weight_matrix()
    assert len(header) == 27 and len(CODES) == 24
    assert list(CODES) == [code for code in header if code not in EQUIVALENTS]
    assert [diagnosis.code for diagnosis in DIAGNOSES] == list(CODES)
    assert CODES[SINUS_RHYTHM] == "426783006" and DIAGNOSES[SINUS_RHYTHM].name == "sinus rhythm"


def test_the_first_code_of_each_equivalent_pair_represents_both():
    assert EQUIVALENTS == {"59118001": "713427006", "63593006": "284470004", "17338001": "427172004"}
    header, rows = weight_matrix()
    for replaced, representative in EQUIVALENTS.items():  # the Challenge rewards both alike
        assert rows[replaced] == rows[representative]
        assert header.index(replaced) > header.index(representative)


def test_rewards_equal_the_weight_matrix_and_are_read_only():
    header, rows = weight_matrix()
    for j, right in enumerate(CODES):
        for k, answer in enumerate(CODES):
            assert float(rows[right][header.index(answer)]) == REWARDS[j, k]
    assert REWARDS.shape == (24, 24) and (np.diag(REWARDS) == 1).all()
    with pytest.raises(ValueError):
        REWARDS[0, 0] = 2


def test_labels_replace_equivalents_and_drop_unscored_codes():
    labels = label_vector(["59118001", "713427006", " 17338001 ", "55827005", "AF", ""])
    assert labels.dtype == np.bool_ and labels.shape == (24,)
    assert [CODES[k] for k in np.flatnonzero(labels)] == ["713427006", "427172004"]
    assert label_vector([]).shape == (24,) and not label_vector([]).any()


def test_pairs_of_2021_count_in_labels_of_a_training_alone():
    pairs = EQUIVALENTS | EQUIVALENTS_2021  # CRBBB and RBBB, PAC and SVPB, PVC and VPB, LBBB and complete LBBB
    assert len(pairs) == 4 and pairs["733534002"] == "164909002"
    for replaced, kept in pairs.items():
        labels = training_label_vector([f" {replaced} ", "55827005"])
        assert [CODES[k] for k in np.flatnonzero(labels)] == [kept]
    assert not label_vector(["733534002"]).any() and class_index("733534002") is None
    assert not training_label_vector([]).any()


def test_an_unscored_code_can_imply_a_scored_class_as_a_proxy_label():
    labels = proxy_label_vector([" 164884008 ", "164889003", "55827005"])
    assert [CODES[k] for k in np.flatnonzero(labels)] == ["427172004"]
    assert not label_vector(["164884008"]).any() and not proxy_label_vector([]).any()


def test_the_reference_prevalence_is_the_mean_over_the_four_largest_sources():
    prevalence = reference_prevalence()
    assert prevalence.shape == (24,) and (prevalence > 0).all()
    # sinus rhythm by hand: 918 of 5279 (A), 1752 of 9458 (E), 18092 of 21604 (HR), 4 of 1278 (Q)
    by_hand = (918 / 5279 + 1752 / 9458 + 18092 / 21604 + 4 / 1278) / 4
    assert prevalence[CODES.index("426783006")] == pytest.approx(by_hand)
    with pytest.raises(ValueError):
        prevalence[0] = 1


@pytest.mark.parametrize(
    ("key", "code"),
    [
        ("164889003", "164889003"),
        ("AF", "164889003"),
        ("lanfb", "445118002"),
        ("CRBBB", "713427006"),
        ("RBBB", "713427006"),
        ("59118001", "713427006"),
        ("PAC", "284470004"),
        ("SVPB", "284470004"),
        ("PVC", "427172004"),
        ("VPB", "427172004"),
    ],
)
def test_a_diagnosis_is_found_by_code_or_abbreviation_including_those_of_equivalents(key, code):
    assert find_diagnosis(key).code == code


def test_each_diagnosis_is_found_by_its_own_code_and_abbreviation():
    for k, diagnosis in enumerate(DIAGNOSES):
        assert find_diagnosis(diagnosis.code) is find_diagnosis(diagnosis.abbreviation) is diagnosis
        assert class_index(diagnosis.code) == k
    assert class_index("55827005") is None


@pytest.mark.parametrize("key", ["", "55827005", "LVH", "sinus"])
def test_an_unscored_diagnosis_is_not_found(key):
    with pytest.raises(ValueError, match="no scored diagnosis"):
        find_diagnosis(key)
