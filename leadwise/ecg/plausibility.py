"""Placeholder."""

import numpy as np


def typical_size(values):
    finite = np.where(np.isfinite(values), values, np.nan)
    usable = finite[~np.isnan(finite).all(axis=1)]
    return float(np.nanmedian(np.abs(usable - np.nanmedian(usable, axis=1, keepdims=True)))) if usable.size else 0.0


def likely_unit(size):
    return None if 0.001 <= size <= 2 or size == 0 else "V" if size < 0.001 else "uV"
