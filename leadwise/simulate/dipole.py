"""The moving cardiac dipole: waves in space and time, and what the leads see of them. Knows no diagnoses and no files.

A wave is a vector in Frank's coordinates (x to the left, y to the feet, z to the back; mV) that grows and fades as a
Gaussian of time. A heartbeat is a handful of waves (`Waves`), a recording is all waves of all its beats. Eight leads
are projections of the dipole (Dower's matrix), the other four limb leads follow from I and II (Einthoven, Goldberger).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

LEADS: tuple[str, ...] = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")

# Dower, Machado, Osborne 1980: what the leads I, II, V1 ... V6 see of Frank's x, y, z. (8, 3)
DOWER: Array = np.array(
    [
        [0.632, -0.235, 0.059],
        [0.235, 1.066, -0.132],
        [-0.515, 0.157, -0.917],
        [0.044, 0.164, -1.387],
        [0.882, 0.098, -1.277],
        [1.213, 0.127, -0.601],
        [1.125, 0.127, -0.086],
        [0.831, 0.076, 0.230],
    ]
)

# The atria lie behind and to the right: of all chest electrodes V1 is nearest to them, the others see less of them than
# of an equal dipole in the ventricles. Gains on Dower's rows, rounded from P waves and fibrillatory waves of real ECGs.
ATRIAL_GAINS: Array = np.array([1.0, 1.0, 1.0, 0.6, 0.45, 0.4, 0.4, 0.45])

# The eight leads by the electrodes RA, LA, LL, V1 ... V6; Wilson's terminal is the mean of the limbs. (8, 9)
ELECTRODES: Array = np.zeros((8, 9))
ELECTRODES[0, :3] = -1, 1, 0
ELECTRODES[1, :3] = -1, 0, 1
ELECTRODES[2:, :3] = -1 / 3
ELECTRODES[2:, 3:] = np.eye(6)

REACH = 4.0  # standard deviations after which a wave is taken as over: 0.03 % of its peak


@dataclass(frozen=True, eq=False)
class Waves:
    """Gaussian waves of the dipole: time of the peak, standard deviation before and after it, vector at the peak.

    All arrays have one row a wave. A beat's times are ms from the onset of its QRS complex.
    """

    centre: Array  # (waves,)
    rise: Array  # (waves,)
    fall: Array  # (waves,)
    vector: Array  # (waves, 3), mV

    def __len__(self) -> int:
        return len(self.centre)

    def area(self) -> Array:
        """The integral of the dipole over all waves, (3,)."""
        result: Array = math.sqrt(math.pi / 2) * (self.rise + self.fall) @ self.vector
        return result

    def picked(self, which: NDArray[np.bool_]) -> Waves:
        """Those waves for which `which` (waves,) is true."""
        return Waves(self.centre[which], self.rise[which], self.fall[which], self.vector[which])

    def at(self, times: Array) -> Array:
        """The dipole (3, times): every wave at every time. For templates; `render` is for recordings."""
        distance = times - self.centre[:, None]  # (waves, times)
        width = np.where(distance < 0, self.rise[:, None], self.fall[:, None])
        result: Array = self.vector.T @ np.exp(-0.5 * (distance / width) ** 2)
        return result

    def stretched(self, factor: float) -> Waves:
        """The same waves with all times multiplied by `factor`."""
        return Waves(self.centre * factor, self.rise * factor, self.fall * factor, self.vector)

    def shifted(self, time: ArrayLike) -> Waves:
        """The same waves later by `time` (a number, or one for each wave)."""
        return replace(self, centre=self.centre + np.asarray(time, dtype=np.float64))

    def scaled(self, factor: ArrayLike) -> Waves:
        """The same waves with vectors multiplied by `factor` (a number, or one for each wave)."""
        return replace(self, vector=self.vector * np.asarray(factor, dtype=np.float64).reshape(-1, 1))


def join(*parts: Waves) -> Waves:
    """All waves of several lots as one."""
    return Waves(
        np.concatenate([part.centre for part in parts]),
        np.concatenate([part.rise for part in parts]),
        np.concatenate([part.fall for part in parts]),
        np.concatenate([part.vector for part in parts]),
    )


def direction(angle: ArrayLike, frontal: ArrayLike, posterior: ArrayLike) -> Array:
    """Frank vectors (..., 3) by what the limb leads show of them.

    `angle`: degrees in the frontal plane (0 is lead I, 90 is aVF), `frontal`: mV there, so that I = frontal cos(angle)
    and aVF = frontal sin(angle) sqrt(3)/2 (Einthoven's triangle); `posterior`: mV towards the back (Frank's z).
    """
    angle, frontal, posterior = np.broadcast_arrays(np.radians(angle), frontal, np.asarray(posterior, dtype=np.float64))
    lead_1 = frontal * np.cos(angle)
    lead_2 = frontal * np.sin(angle) * math.sqrt(3) / 2 + lead_1 / 2
    seen = np.stack([lead_1, lead_2], axis=-1) - posterior[..., None] * DOWER[:2, 2]
    left_and_down = np.linalg.solve(DOWER[:2, :2], seen[..., None])[..., 0]
    result: Array = np.concatenate([left_and_down, posterior[..., None]], axis=-1)
    return result


def frontal_plane(vector: Array) -> Array:
    """What limb leads draw of Frank vectors (..., 3) in the frontal plane, (..., 2): to the left, to the feet."""
    limb = vector @ DOWER[:2].T  # I, II
    return np.stack([limb[..., 0], (limb[..., 1] - limb[..., 0] / 2) * 2 / math.sqrt(3)], axis=-1)


def make_waves(rows: list[tuple[float, float, float, float, float]]) -> Waves:
    """Waves from a table of (centre ms, width ms, frontal angle in degrees, frontal mV, posterior mV)."""
    centre, width, angle, frontal, posterior = np.array(rows, dtype=np.float64).reshape(-1, 5).T
    return Waves(centre, width, width, direction(angle, frontal, posterior))


def render(waves: Waves, sampling_frequency: float, samples: int) -> Array:
    """The dipole (3, samples) of waves whose times are seconds, as a machine of that sampling frequency records it.

    Its anti-alias filter is a Gaussian of 0.35 sampling intervals: narrow waves (a pacemaker's spike) become lower and
    wider, their area stays. Waves may lie partly or wholly outside the recording.
    """
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
    """I, II, V1 ... V6 (8, samples) as all twelve in standard order (12, samples), float32.

    The derived leads are computed from the rounded I and II, so III = II - I holds to the last bit.
    """
    rounded = eight.astype(np.float32)
    one, two = rounded[:2]
    half = np.float32(0.5)
    limb = [one, two, two - one, -(one + two) * half, one - two * half, two - one * half]
    return np.stack([*limb, *rounded[2:]])
