"""Name the sets of leads that have calibrations of their own, and choose one by the leads that a recording has.

The Challenge of 2021 has sets of 12, 6, 4, 3 and 2 leads. Any two limb leads determine the six, so that its 6 and 2
leads are one set for a network, and so are its 4 and 3 leads.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from leadwise.ecg.lead_names import STANDARD_LEADS

_LIMB_LEADS = STANDARD_LEADS[:6]
LEAD_SETS: Final = {"12 leads": STANDARD_LEADS, "limb leads and V2": (*_LIMB_LEADS, "V2"), "limb leads": _LIMB_LEADS}
REDUCED: Final = tuple(LEAD_SETS)[1:]
MASKS: Final[NDArray[np.bool_]] = np.array([[lead in leads for lead in STANDARD_LEADS] for leads in LEAD_SETS.values()])


def nearest_lead_set(present: NDArray[Any]) -> NDArray[np.intp]:
    """Return the index in `LEAD_SETS` of the set that differs in the fewest leads from those of each recording,
    (recordings,) from a mask (recordings, 12); of several the largest."""
    different = np.asarray(present, np.bool_)[:, None, :] ^ MASKS  # (recordings, sets, 12)
    return np.asarray(different.sum(axis=2).argmin(axis=1))
