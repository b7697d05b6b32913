"""The lead set of a recording is the one that differs in the fewest leads."""

from __future__ import annotations

import numpy as np
import pytest

from leadwise.decision.lead_sets import LEAD_SETS, MASKS, nearest_lead_set
from leadwise.ecg.lead_names import STANDARD_LEADS


def present(leads: str) -> np.ndarray:
    return np.array([[lead in leads.split() for lead in STANDARD_LEADS]])


LIMBS = "I II III aVR aVL aVF"


@pytest.mark.parametrize(
    ("leads", "name"),
    [
        (" ".join(STANDARD_LEADS), "12 leads"),
        (f"{LIMBS} V1 V2 V4 V5 V6", "12 leads"),
        ("V1 V2 V3 V4 V5 V6", "12 leads"),
        (f"{LIMBS} V2", "limb leads and V2"),
        (f"{LIMBS} V2 V5", "limb leads and V2"),
        (LIMBS, "limb leads"),
        (f"{LIMBS} V1", "limb leads"),
        ("I", "limb leads"),
    ],
)
def test_the_nearest_lead_set(leads: str, name: str) -> None:
    assert list(LEAD_SETS)[int(nearest_lead_set(present(leads))[0])] == name


def test_a_lead_set_is_its_own_nearest() -> None:
    assert nearest_lead_set(MASKS).tolist() == list(range(len(LEAD_SETS)))
    assert nearest_lead_set(np.zeros((0, 12), np.bool_)).shape == (0,)
