"""Compare leads with one another: Einthoven's and Goldberger's equations, identical leads, exchanged electrodes.

All comparisons use the covariance (12, 12) of the leads' quick parts, mostly QRS, so baselines do not matter.
"""

from __future__ import annotations

import itertools
from typing import Final

import numpy as np
from numpy.typing import NDArray

from leadwise.ecg.leads import LIMB_LEADS, STANDARD_LEADS

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]

OF_I_AND_II: Final = np.array(list(LIMB_LEADS.values()))  # shape: 6 leads, 2 weights
LIMB: Final = len(LIMB_LEADS)  # the first of the standard leads
MAX_CONTRADICTION: Final = 0.2  # of the largest limb lead; good recordings have up to 0.01
MIN_CONTRADICTION: Final = 0.01  # mV; less is noise or rounding
IDENTICAL: Final = 0.005  # of the larger lead; neighbouring chest leads of one recorder differ by 0.006 or more
SAME_SHAPE: Final = 0.9999  # correlation of all leads with the first
# The limb leads I and II as sums of V1 to V6, by linear regression of QRS on PTB-XL.
FROM_CHEST: Final = np.array([[-0.63, 0.26, 0.06, -0.08, 0.05, 0.33], [-0.02, -0.13, 0.11, 0.11, -0.04, 0.47]])
# The true I and II from those recorded with exchanged electrodes.
EXCHANGES: Final = {
    "right arm and left arm": np.array([[-1, 0], [-1, 1]]),
    "right arm and left leg": np.array([[1, -1], [0, -1]]),
}
MAX_AGREEMENT: Final = 0.4  # correlation of I and II with the chest leads' estimate of them
MIN_IMPROVEMENT: Final = 0.45  # of that correlation if an exchange is undone


def contradicting_leads(covariance: Floats, usable: Booleans) -> Booleans:
    """Return which limb leads, (12,), contradict the equations: all but the largest set of usable leads that follow
    from two of them, or all usable ones if that set is not most of them."""
    leads = np.flatnonzero(usable[:LIMB])
    contradicting = np.zeros(len(STANDARD_LEADS), bool)
    if len(leads) < 3:
        return contradicting
    limit = max(MAX_CONTRADICTION**2 * covariance[leads, leads].max(), MIN_CONTRADICTION**2)
    best, agreeing = (0, 0.0), leads
    for pair in itertools.combinations(leads.tolist(), 2):
        power = _contradiction(covariance, leads, pair)
        fit = power <= limit
        if fit.all():
            return contradicting  # nearly always after the first pair
        score = (int(fit.sum()), -float(power[fit].sum()))
        if score > best:
            best, agreeing = score, leads[fit]
    contradicting[leads] = True
    if len(agreeing) > max(2, len(leads) / 2):
        contradicting[agreeing] = False
    return contradicting


def _contradiction(covariance: Floats, leads: NDArray[np.intp], pair: tuple[int, int]) -> Floats:
    """Return the mean square difference of each of the leads and what a pair of leads implies, mV²."""
    differences = np.zeros((len(leads), len(covariance)))
    differences[:, pair] = OF_I_AND_II[leads] @ np.linalg.inv(OF_I_AND_II[list(pair)])
    differences[np.arange(len(leads)), leads] -= 1
    return np.asarray(((differences @ covariance) * differences).sum(axis=1))


def identical_leads(covariance: Floats, usable: Booleans) -> Booleans:
    """Return which of the usable leads, (12,), equal another one; all of them if all have the same shape."""
    power = np.diag(covariance)
    pairs = usable[:, None] & usable & ~np.eye(len(usable), dtype=bool) & (power[:, None] + power > 0)
    difference = power[:, None] + power - 2 * covariance
    equal = pairs & (difference <= IDENTICAL**2 * np.maximum(power[:, None], power))
    leads = np.flatnonzero(usable)
    if len(leads) > 2:
        product = np.sqrt(power[leads[0]] * power[leads])
        if (np.abs(covariance[leads[0], leads]) > SAME_SHAPE * product).all():
            return usable.copy()
    return np.asarray(equal.any(axis=1))


def likely_exchange(covariance: Floats, usable: Booleans) -> str | None:
    """Return the electrodes that look exchanged: I and II contradict what V1 to V6 show, and fit after undoing it. An
    exchange of left arm and left leg looks like another heart axis and is not detected."""
    if not usable[[0, 1, STANDARD_LEADS.index("V6")]].all():
        return None
    chest = FROM_CHEST * usable[LIMB:]
    expected = np.trace(chest @ covariance[LIMB:, LIMB:] @ chest.T)

    def agreement(undo: Floats) -> float:
        power = np.trace(undo @ covariance[:2, :2] @ undo.T) * expected
        return float((undo @ covariance[:2, LIMB:] * chest).sum() / np.sqrt(power)) if power > 0 else 0.0

    as_recorded = agreement(np.eye(2))
    undone = {name: agreement(undo) for name, undo in EXCHANGES.items()}
    best = max(undone, key=undone.__getitem__)
    exchanged = as_recorded < MAX_AGREEMENT and undone[best] > as_recorded + MIN_IMPROVEMENT
    return best if exchanged else None
