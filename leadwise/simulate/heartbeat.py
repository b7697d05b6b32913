"""One heartbeat of a patient as waves of the dipole: P, QRS and T, of normal, premature and ectopic beats.

Waves are written as their table in textbooks would be: when (ms from the onset of QRS), how wide, which way in the
frontal plane, how strong there and towards the back. The tables have a natural width, axis and voltage of their own;
`fitted` brings these to the patient's. Knows no recordings and no diagnoses by name.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from leadwise.simulate.dipole import DOWER, Array, Waves, direction, frontal_plane, join, make_waves
from leadwise.simulate.patient import Patient

# A row of a table: centre ms, width ms, frontal angle, frontal mV, posterior mV. The angles of the first table of a
# pattern stay as they are (septum, scars, late parts); those of the second are from the axis, and turn with it.
Rows = list[tuple[float, float, float, float, float]]

EDGE = 0.05  # QRS lasts while the root mean square of the leads is above this share of its peak


@dataclass(frozen=True, eq=False)
class Beat:
    """The waves of one kind of heartbeat; times in ms from the onset of QRS. T is placed by its end, at time 0."""

    p: Waves
    qrs: Waves
    t: Waves


def _septum(axis: float, rng: Generator) -> Rows:
    """The first 20 ms: to the right and front. A turned heart turns them too: r, not Q, in leads that see mostly S."""
    front = -0.28 * math.exp(0.25 * rng.normal())
    if axis < -30:
        return [(14, 5.5, 62 + 6 * rng.normal(), rng.uniform(0.18, 0.25), front)]
    if axis > 90:
        return [(14, 5.5, 25 + 8 * rng.normal(), rng.uniform(0.14, 0.20), front)]
    return [(14, 5.5, -160 + 30 * rng.normal(), rng.uniform(0.06, 0.16), front)]


def _ventricles(axis: float, rng: Generator) -> tuple[Rows, Rows]:
    """Normal activation: septum, free walls along the axis, posterior wall, base."""
    anterior, rear, base = rng.normal(0.10, 0.15), 0.75 * math.exp(0.2 * rng.normal()), rng.uniform(0.1, 0.3)
    base_wave: Rows = [(66, 8, -130 + 30 * rng.normal(), base, 0.25)]
    walls: Rows = [(36, 8, 0, 1.0, anterior), (50, 8, -30 + 15 * rng.normal(), 0.35, rear)]
    return _septum(axis, rng) + base_wave, walls


def _vertical_heart(axis: float, rng: Generator, strong: bool) -> tuple[Rows, Rows]:
    """Right axis: to the feet, then to the right (S in I, V5, V6), or at once with a strong right ventricle."""
    septum = _septum(axis, rng)
    if strong:
        front = -rng.uniform(0.2, 0.6)  # tall R in V1
        return septum, [(36, 8, 0, 1.0, front), (52, 9, 20, 0.4, rng.uniform(0.0, 0.3))]
    first: Rows = [(36, 8, rng.uniform(68, 80), 1.0, rng.normal(0.1, 0.1))]
    return septum + first, [(55, 9.5, 0, rng.uniform(0.85, 1.0), rng.uniform(0.3, 0.7))]


def _slow_ventricles(axis: float, rng: Generator) -> tuple[Rows, Rows]:
    """Slow within the walls: a slurred, notched R, otherwise as normal."""
    fixed, walls = _ventricles(axis, rng)
    notch: Rows = [(70, 9, rng.uniform(-20, 20), rng.uniform(0.4, 0.6), rng.uniform(0.0, 0.3))]
    centre, width, angle, septum, front = fixed[0]  # a q that is seen: no left bundle-branch pattern
    return [(centre, width, angle, 1.5 * septum, front), (94, 9, *fixed[1][2:])], walls + notch


def _anterior_fascicle(rng: Generator) -> tuple[Rows, Rows]:
    """First to the feet and right (r in II, III, aVF; q in aVL), then all of the wall upwards and left."""
    start: Rows = [(13, 5.5, 112 + 6 * rng.normal(), rng.uniform(0.25, 0.35), -0.18)]
    return start, [(40, 8.5, 5, 1.0, 0.15), (56, 9, 0, 0.5, rng.uniform(0.4, 0.7)), (74, 8, -15, 0.25, 0.2)]


def _right_bundle(rng: Generator, rows: tuple[Rows, Rows], complete: bool) -> tuple[Rows, Rows]:
    """The right ventricle comes late: a last vector to the right and front (R' in V1, S in I and V6)."""
    fixed, walls = rows
    rear = 0.45 if complete else 0.75
    walls = [(*wave[:4], wave[4] * rear) for wave in walls]
    angle = 178 + 10 * rng.normal()
    if complete:
        late: Rows = [(98, 15, angle, rng.uniform(0.3, 0.55), -rng.uniform(0.5, 1.0))]
    else:
        late = [(78, 9, angle, rng.uniform(0.12, 0.25), -rng.uniform(0.25, 0.45))]
    return [wave for wave in fixed if wave[0] < 60] + late, walls  # instead of the base


def _left_bundle(rng: Generator) -> tuple[Rows, Rows]:
    """No septal q; the wall activated slowly from right to left and back: broad, notched R in I, aVL, V5, V6."""
    rear = math.exp(0.2 * rng.normal())
    second = rng.uniform(0.75, 1.0)
    return [], [
        (30, 13, 15, 0.35, 0.25 * rear),
        (58, 14, 5, 0.85, 0.65 * rear),
        (80, 15, 0, 0.25, 0.6 * rear),
        (104, 15, -10, second, 0.5 * rear),
    ]


def _lost_wall(rng: Generator, wall: str) -> tuple[Rows, Rows]:
    """A scar: for the first 45 ms the dipole points away from it, then the other walls follow."""
    away = {"inferior": (-85.0, 0.42, 0.05), "anterior": (80.0, 0.05, 0.60), "lateral": (178.0, 0.45, 0.10)}[wall]
    scar: Rows = [(24, 10, away[0] + 5 * rng.normal(), away[1], away[2])]
    if wall == "anterior":
        scar.append((44, 8, away[0], 0.05, 0.35))
    walls: Rows = [(58, 7.5, 0, 1.0, rng.normal(0.1, 0.1)), (69, 7.5, -10, 0.3, rng.uniform(0.4, 0.7))]
    return scar, walls


def _pattern(patient: Patient, rng: Generator) -> tuple[Waves, Waves]:
    """QRS waves of natural width and voltage: those that keep their direction, and those that turn with the axis."""
    if patient.conduction in ("LBBB", "paced"):
        rows = _left_bundle(rng)
    elif patient.q_wave != "none":
        rows = _lost_wall(rng, patient.q_wave)
    elif patient.conduction == "slow":
        rows = _slow_ventricles(patient.axis, rng)
    elif patient.fascicle == "anterior":
        rows = _anterior_fascicle(rng)
    elif patient.axis > 90:
        rows = _vertical_heart(patient.axis, rng, strong=patient.axis > 120 and patient.conduction == "normal")
    else:
        rows = _ventricles(patient.axis, rng)
    if patient.conduction in ("RBBB", "IRBBB"):
        rows = _right_bundle(rng, rows, complete=patient.conduction == "RBBB")
    return make_waves(rows[0]), make_waves(rows[1])


def _turned(fixed: Waves, turning: Waves, axis: float) -> Waves:
    """Both lots of waves together, the second turned in the frontal plane until their common net area lies on the axis.

    Where the first lot is too strong for that, the second goes as far as it can.
    """
    still, moving = frontal_plane(fixed.area()), frontal_plane(turning.area())
    target = math.radians(axis)
    across = math.cos(target) * still[1] - math.sin(target) * still[0]  # of the fixed part, to be balanced
    angle = target - math.asin(np.clip(across / np.hypot(*moving), -1, 1)) - math.atan2(moving[1], moving[0])
    flat = frontal_plane(turning.vector)
    degrees = np.degrees(np.arctan2(flat[:, 1], flat[:, 0]) + angle)
    vector = direction(degrees, np.hypot(flat[:, 0], flat[:, 1]), turning.vector[:, 2])
    return join(fixed, Waves(turning.centre, turning.rise, turning.fall, vector))


def _axis_part(fixed: Waves, conduction: str) -> tuple[Waves, Waves]:
    """Splits the fixed waves into those that count for the axis and the late right ones of a bundle-branch block."""
    late = (fixed.centre > 75) & (conduction in ("RBBB", "IRBBB"))
    return fixed.picked(~late), fixed.picked(late)


def span(waves: Waves, matrix: Array) -> tuple[float, float]:
    """Onset and end (ms) of a group of waves by the root mean square over the leads of `matrix` (8, 3); see `EDGE`."""
    times = np.arange(-150.0, 350.0, 0.5)
    size = np.sqrt(np.mean((matrix @ waves.at(times)) ** 2, axis=0))
    active = times[size > EDGE * size.max()]
    return float(active[0]), float(active[-1])


def fitted(waves: Waves, width: float, matrix: Array) -> Waves:
    """The same waves stretched and shifted so that they begin at 0 and end at `width` ms (see `span`)."""
    onset, end = span(waves, matrix)
    return waves.shifted(-onset).stretched(width / (end - onset))


def limb_voltage(waves: Waves) -> float:
    """The largest peak-to-peak voltage of the six limb leads, mV."""
    one, two = DOWER[:2] @ waves.at(np.arange(-100.0, 400.0))
    leads = np.stack([one, two, two - one, (one + two) / 2, one - two / 2, two - one / 2])
    return float(np.ptp(leads, axis=1).max())


def _with_voltage(waves: Waves, voltage: float) -> Waves:
    """The same waves at the wanted limb voltage; low voltage spares the chest leads in part (the back-front vector)."""
    factor = voltage / limb_voltage(waves)
    if voltage >= 0.5:
        return waves.scaled(factor)
    flat = frontal_plane(waves.vector) * factor
    degrees = np.degrees(np.arctan2(flat[:, 1], flat[:, 0]))
    depth = waves.vector[:, 2] * math.sqrt(factor)
    low = Waves(waves.centre, waves.rise, waves.fall, direction(degrees, np.hypot(flat[:, 0], flat[:, 1]), depth))
    return low.scaled(min(1.0, voltage / limb_voltage(low)))


def ventricular_complex(patient: Patient, matrix: Array, rng: Generator) -> Waves:
    """The patient's QRS: pattern, axis, voltage and width as `patient` says."""
    fixed, turning = _pattern(patient, rng)
    counted, late = _axis_part(fixed, patient.conduction)
    waves = join(_turned(counted, turning, patient.axis), late)
    return fitted(_with_voltage(waves, patient.limb_voltage), patient.qrs, matrix)


def _t_vector(patient: Patient, qrs: Waves, rng: Generator) -> Array:
    """Direction and height of the T wave, (3,)."""
    size = 0.23 * math.exp(0.25 * rng.normal()) * math.sqrt(min(patient.limb_voltage, 1.6))
    wobble, strength = rng.normal(), rng.uniform(0.7, 1.1)
    if patient.t_wave == "secondary":
        against = -qrs.area() / np.linalg.norm(qrs.area())
        return np.asarray(against * (0.35 + 0.4 * (strength - 0.7)) * math.sqrt(patient.limb_voltage))
    # Inverted over a wall: the vector points away from it.
    if patient.t_wave == "lateral":
        return direction(185 + 15 * wobble, strength * size, 0.1 * size)
    if patient.t_wave == "anterior":
        return direction(165 + 15 * wobble, 0.6 * strength * size, 1.4 * strength * size)
    if patient.t_wave == "inferior":
        return direction(-70 + 10 * wobble, 1.1 * strength * size, -0.3 * size)
    angle = float(np.clip(20 + 0.4 * patient.axis + 8 * wobble, 5, 68))
    if patient.t_wave == "flat":
        return direction(angle, (strength - 0.9) * 0.75 * size, -rng.uniform(0.0, 0.7) * size)  # at most V2 keeps it
    # After a right bundle-branch block T is upside down in V1, as the last part of QRS demands.
    depth = {"RBBB": 0.5, "IRBBB": 0.0}.get(patient.conduction, -rng.uniform(0.05, 0.9))
    return direction(angle, size, depth * size)


def repolarisation(patient: Patient, qrs: Waves, rng: Generator) -> Waves:
    """The patient's T wave, its end (where the tangent of its fall meets zero) at time 0."""
    vector = _t_vector(patient, qrs, rng)[None]
    rise, fall = rng.uniform(42, 58, 1), rng.uniform(30, 38, 1)
    if patient.t_wave == "secondary":
        rise, fall = 1.2 * rise, 1.2 * fall  # ST slopes into T
    if patient.t_wave == "biphasic":  # up, then down
        up = Waves(-2 * fall - 75, fall, fall, 0.6 * vector)
        return join(up, Waves(-2 * fall, fall, fall, -0.55 * vector))
    return Waves(-2 * fall, rise, fall, vector)


def atrial_wave(start: float, rng: Generator, ectopic: bool = False) -> Waves:
    """A P wave that begins `start` ms before QRS: right, then left atrium; an ectopic one runs upwards from below."""
    size, width = math.exp(0.25 * rng.normal()), rng.uniform(15, 18)
    if ectopic:
        first = (0, width, -75 + 15 * rng.normal(), 0.09 * size, 0.03)
        second = (38, width, -60 + 15 * rng.normal(), 0.07 * size, -0.04)
    else:
        first = (0, width, 60 + 10 * rng.normal(), 0.10 * size, -0.05)
        second = (38, width, 45 + 10 * rng.normal(), 0.09 * size, 0.05)
    waves = make_waves([first, second])
    return waves.shifted(2.2 * width - start)


def spike(time: float, rng: Generator) -> Waves:
    """A pacemaker's pulse at `time` ms: half a millisecond wide, along the axis of the electrode."""
    size = rng.uniform(1.2, 3.5)
    vector = direction(-75 + 15 * rng.normal(), size, rng.uniform(-0.4, 0.4) * size)
    return Waves(np.array([time]), np.array([0.4]), np.array([0.4]), vector[None])


NOTHING = Waves(np.zeros(0), np.zeros(0), np.zeros(0), np.zeros((0, 3)))


def _atria(patient: Patient, rng: Generator) -> Waves:
    """What the atria do in each regular beat: a P wave, none, or one that runs backwards out of a junctional beat."""
    if patient.rhythm == "sinus":
        return atrial_wave(patient.pr, rng)
    if patient.rhythm == "junctional" and rng.random() < 0.4:
        return atrial_wave(-patient.qrs - rng.uniform(20, 60), rng, ectopic=True).scaled(0.8)
    if patient.rhythm == "paced" and rng.random() < 0.35:  # both chambers are paced
        delay = rng.uniform(150, 190)
        return join(atrial_wave(delay, rng), spike(-delay - 12, rng).scaled(0.6))
    return NOTHING


def regular_beat(patient: Patient, matrix: Array, rng: Generator) -> Beat:
    """The beat that the patient's rhythm consists of; `matrix` (8, 3) is what the patient's leads see."""
    atria = _atria(patient, rng)
    qrs = ventricular_complex(patient, matrix, rng)
    t = repolarisation(patient, qrs, rng)
    if patient.rhythm == "paced":
        qrs = join(spike(-rng.uniform(6, 14), rng), qrs)
    return Beat(atria, qrs, t)


def atrial_premature_beat(patient: Patient, regular: Beat, rng: Generator) -> Beat:
    """A premature atrial beat: another P wave, the same ventricles."""
    return Beat(atrial_wave(max(125.0, 0.9 * patient.pr), rng, ectopic=True), regular.qrs, regular.t)


def ventricular_premature_beat(patient: Patient, matrix: Array, rng: Generator) -> Beat:
    """A premature ventricular beat: no P, a wide QRS from somewhere in the ventricles, T against it."""
    axis, voltage = rng.uniform(-120, 140), 1.3 * max(0.7, patient.limb_voltage) * rng.uniform(0.8, 1.3)
    rear = rng.choice([-1.0, 1.0]) * rng.uniform(0.4, 1.0)  # from the left ventricle: towards the front; or the right
    rows: Rows = [
        (25, 13, 20, 0.35, 0.3 * rear),
        (60, 20, 0, 1.0, rear),
        (100, 17, -25, rng.uniform(0.2, 0.6), 0.6 * rear),
    ]
    waves = make_waves([(centre, width, axis + angle, limb, back) for centre, width, angle, limb, back in rows])
    qrs = fitted(waves.scaled(voltage / limb_voltage(waves)), rng.uniform(135, 175), matrix)
    vector = -qrs.area() / np.linalg.norm(qrs.area()) * 0.4 * voltage
    return Beat(NOTHING, qrs, Waves(np.array([-70.0]), np.array([55.0]), np.array([35.0]), vector[None]))
