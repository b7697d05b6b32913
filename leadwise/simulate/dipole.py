"""Model the cardiac dipole as waves in space and time, and project it on the leads.

A wave is a vector in Frank's coordinates (x to the left, y to the feet, z to the back; mV) that grows and fades as a
Gaussian of time. Eight leads are projections of the dipole (Dower's matrix); the other four follow from I and II.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

# Dower, Machado, Osborne 1980: leads I, II, V1 ... V6 from Frank's x, y, z. (8, 3)
DOWER: Array = np.array(
    [
        [0.632, 0.235, -0.515, 0.044, 0.882, 1.213, 1.125, 0.831],
        [-0.235, 1.066, 0.157, 0.164, 0.098, 0.127, 0.127, 0.076],
        [0.059, -0.132, -0.917, -1.387, -1.277, -0.601, -0.086, 0.230],
    ]
).T.copy()

# The atria lie behind and to the right: V1 is nearest to them, the other chest leads see them more weakly than an equal
# dipole in the ventricles. Gains on Dower's rows, rounded from P waves and fibrillatory waves of real ECGs.
ATRIAL_GAINS: Array = np.array([1.0, 1.0, 1.0, 0.6, 0.45, 0.4, 0.4, 0.45])

# The eight leads from the electrodes RA, LA, LL, V1 ... V6; Wilson's terminal is the mean of the limbs. (8, 9)
ELECTRODES: Array = np.hstack([[[-1, 1, 0], [-1, 0, 1], *6 * [3 * [-1 / 3]]], np.eye(8)[:, 2:]])

REACH = 4.0  # standard deviations after which a wave is over: 0.03 % of its peak


@dataclass(frozen=True, eq=False)
class Waves:
    """Gaussian waves of the dipole, one row a wave. A beat's times are ms from the onset of its QRS complex."""

    centre: Array  # (waves,) time of the peak
    rise: Array  # (waves,) standard deviation before the peak
    fall: Array  # (waves,) and after it
    vector: Array  # (waves, 3) at the peak, mV

    def area(self) -> Array:
        """Integrate the dipole over all waves, (3,)."""
        return np.asarray(math.sqrt(math.pi / 2) * (self.rise + self.fall) @ self.vector)

    def select(self, chosen: NDArray[np.bool_]) -> Waves:
        """Return the chosen waves; `chosen` is (waves,)."""
        return Waves(self.centre[chosen], self.rise[chosen], self.fall[chosen], self.vector[chosen])

    def at(self, times: Array) -> Array:
        """Compute the dipole (3, times) of a few waves directly; `render` is faster for recordings."""
        distance = times - self.centre[:, None]  # (waves, times)
        width = np.where(distance < 0, self.rise[:, None], self.fall[:, None])
        return np.asarray(self.vector.T @ np.exp(-0.5 * (distance / width) ** 2))

    def scaled(self, factor: float) -> Waves:
        """Multiply the vectors by `factor`."""
        return replace(self, vector=self.vector * factor)


def join(*parts: Waves) -> Waves:
    """Concatenate waves."""
    names = ("centre", "rise", "fall", "vector")
    return Waves(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def direction(angle: ArrayLike, frontal: ArrayLike, posterior: ArrayLike) -> Array:
    """Compute Frank vectors (..., 3) from the angle in the frontal plane (degrees; 0 is lead I, 90 is aVF), the length
    there (mV; I = frontal cos(angle), aVF = frontal sin(angle) sqrt(3)/2) and the component to the back (mV, z)."""
    angle, frontal, posterior = np.broadcast_arrays(np.radians(angle), frontal, np.asarray(posterior, dtype=np.float64))
    lead_1 = frontal * np.cos(angle)
    lead_2 = frontal * np.sin(angle) * math.sqrt(3) / 2 + lead_1 / 2
    in_plane = np.stack([lead_1, lead_2], axis=-1) - posterior[..., None] * DOWER[:2, 2]
    left_and_down = np.linalg.solve(DOWER[:2, :2], in_plane[..., None])[..., 0]
    return np.asarray(np.concatenate([left_and_down, posterior[..., None]], axis=-1))


def frontal_plane(vector: Array) -> Array:
    """Project Frank vectors (..., 3) on the frontal plane of the limb leads, (..., 2): to the left, to the feet."""
    limb = vector @ DOWER[:2].T  # I, II
    return np.stack([limb[..., 0], (limb[..., 1] - limb[..., 0] / 2) * 2 / math.sqrt(3)], axis=-1)


def make_waves(rows: list[tuple[float, float, float, float, float]]) -> Waves:
    """Build waves from a table of (centre ms, width ms, frontal angle in degrees, frontal mV, posterior mV)."""
    centre, width, angle, frontal, posterior = np.array(rows, dtype=np.float64).reshape(-1, 5).T
    return Waves(centre, width, width, direction(angle, frontal, posterior))


def render(waves: Waves, sampling_frequency: float, samples: int) -> Array:
    """Sample the dipole (3, samples) of waves whose times are seconds; waves may lie outside the recording.
    The anti-alias filter is a Gaussian of 0.35 sampling intervals; it makes narrow waves lower and wider."""
    blur = 0.35 / sampling_frequency
    rise, fall = np.hypot(waves.rise, blur), np.hypot(waves.fall, blur)
    vector = waves.vector * ((waves.rise + waves.fall) / (rise + fall))[:, None]
    reach = np.ceil(REACH * np.maximum(rise, fall) * sampling_frequency).astype(np.int64) + 1
    reach = 1 << np.ceil(np.log2(reach)).astype(np.int64)  # few different lengths: one vectorised pass for each
    dipole = np.zeros((3, samples))
    for length in np.unique(reach):
        chosen = reach == length
        centre = waves.centre[chosen, None] * sampling_frequency
        index = np.round(centre).astype(np.int64) + np.arange(-length, length + 1)  # (waves, window)
        distance = (index - centre) / sampling_frequency
        shape = np.exp(-0.5 * (distance / np.where(distance < 0, rise[chosen, None], fall[chosen, None])) ** 2)
        inside = (index >= 0) & (index < samples)
        row = np.nonzero(inside)[0]
        for axis in range(3):
            weight = shape[inside] * vector[chosen, axis][row]
            dipole[axis] += np.bincount(index[inside], weight, minlength=samples)
    return dipole


def twelve_leads(eight: Array) -> NDArray[np.float32]:
    """Derive all twelve leads in standard order (12, samples), float32, from I, II, V1 ... V6 (8, samples).
    The four are computed from the rounded I and II, so III = II - I holds to the last bit."""
    rounded = eight.astype(np.float32)
    lead_1, lead_2 = rounded[:2]
    half = np.float32(0.5)
    augmented = -(lead_1 + lead_2) * half, lead_1 - lead_2 * half, lead_2 - lead_1 * half  # aVR, aVL, aVF
    return np.stack([lead_1, lead_2, lead_2 - lead_1, *augmented, *rounded[2:]])
