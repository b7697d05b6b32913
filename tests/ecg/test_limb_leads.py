"""Leads that contradict, repeat or exchange one another, by their covariance."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadwise.ecg.leads import STANDARD_LEADS
from leadwise.ecg.limb_leads import OF_I_AND_II, contradicting_leads, identical_leads, likely_exchange
from leadwise.simulate import simulate

ALL = np.ones(12, bool)


@pytest.fixture(scope="module")
def quick() -> np.ndarray:
    """Return the differences of a simulated ECG's samples, (12, samples)."""
    return np.diff(simulate("NSR", 5, 125, 10).astype(np.float64), axis=1)


def covariance(signal: np.ndarray) -> np.ndarray:
    return np.asarray(signal @ signal.T / signal.shape[1])


def names(leads: np.ndarray) -> list[str]:
    return [name for name, each in zip(STANDARD_LEADS, leads, strict=True) if each]


def only(*leads: str) -> np.ndarray:
    return np.array([lead in leads for lead in STANDARD_LEADS])


def test_the_equations_are_those_of_the_leads(quick: np.ndarray) -> None:
    np.testing.assert_allclose(OF_I_AND_II @ quick[:2], quick[:6], atol=1e-5)


@pytest.mark.parametrize(("first", "second"), [*itertools.combinations(range(6), 2)])
def test_exchanged_names_are_found_without_the_leads_that_fit(quick: np.ndarray, first: int, second: int) -> None:
    exchanged = 20 * quick.copy()
    exchanged[[first, second]] = exchanged[[second, first]]
    assert names(contradicting_leads(covariance(exchanged), ALL)) == [STANDARD_LEADS[first], STANDARD_LEADS[second]]


def test_an_inverted_lead_is_found(quick: np.ndarray) -> None:
    inverted = 20 * quick * np.where(only("aVR"), -1, 1)[:, None]
    assert names(contradicting_leads(covariance(inverted), ALL)) == ["aVR"]


@given(seed=st.integers(0, 1 << 32), leads=st.sets(st.sampled_from(range(6))))
def test_leads_that_follow_from_two_never_contradict(seed: int, leads: set[int]) -> None:
    draws = np.random.default_rng(seed)
    signal = np.vstack([OF_I_AND_II @ draws.normal(size=(2, 200)), draws.normal(size=(6, 200))])
    signal += draws.normal(0, 0.003, signal.shape)  # mV
    usable = np.isin(np.arange(12), [*leads, *range(6, 12)])
    assert not contradicting_leads(covariance(signal), usable).any()


def test_leads_that_cannot_be_compared_do_not_contradict(quick: np.ndarray) -> None:
    exchanged = 20 * quick[[1, 0, *range(2, 12)]]
    assert not contradicting_leads(covariance(exchanged), only("I", "II", "V1")).any()
    assert not contradicting_leads(covariance(exchanged), only("III", "aVR", "aVL", "aVF")).any()
    assert names(contradicting_leads(covariance(exchanged), only("I", "II", "III"))) == ["I", "II", "III"]


def test_small_differences_are_noise(quick: np.ndarray) -> None:
    exchanged = quick[[1, 0, *range(2, 12)]]
    small = exchanged * 0.005 / np.abs(exchanged).max()
    assert not contradicting_leads(covariance(small), ALL).any()


def test_equal_leads_and_leads_of_one_shape_are_identical(quick: np.ndarray) -> None:
    assert names(identical_leads(covariance(quick), ALL)) == []
    copied = quick.copy()
    copied[9] = copied[7]
    assert names(identical_leads(covariance(copied), ALL)) == ["V2", "V4"]
    assert names(identical_leads(covariance(copied), ~only("V4"))) == []
    scaled = np.outer(np.linspace(-2, 3, 12), quick[1])
    assert identical_leads(covariance(scaled), ALL).all()
    assert names(identical_leads(covariance(scaled), only("V1", "V2"))) == []  # two may be alike
    assert not identical_leads(np.zeros((12, 12)), ALL).any()


@pytest.mark.parametrize("seed", range(6))
def test_exchanges_are_named(seed: int) -> None:
    ecg = np.diff(simulate("NSR", seed, 125, 10).astype(np.float64), axis=1)
    for name, (i, ii) in {
        None: (ecg[0], ecg[1]),
        "right arm and left arm": (-ecg[0], ecg[1] - ecg[0]),
        "right arm and left leg": (ecg[0] - ecg[1], -ecg[1]),
    }.items():
        signal = np.vstack([OF_I_AND_II @ np.array([i, ii]), ecg[6:]])
        assert likely_exchange(covariance(signal), ALL) == name
        assert likely_exchange(covariance(signal), ~only("V3")) == name
        assert likely_exchange(covariance(signal), ~only("V6")) is None
        assert likely_exchange(covariance(signal), ~only("I")) is None
    assert likely_exchange(np.zeros((12, 12)), ALL) is None
