"""Build one heartbeat of a patient as waves of the dipole: P, QRS and T, of normal, premature and ectopic beats."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from leadwise.simulate.dipole import DOWER, Array, Waves, direction, frontal_plane, join, make_waves
from leadwise.simulate.patient import Patient

# A row: centre ms, width ms, frontal angle, frontal mV, posterior mV. A QRS pattern has two tables: the angles of the
# first are fixed (septum, scars, late parts), those of the second are relative to the axis. A pattern has a natural
# width, axis and voltage, which are then fitted to the patient's.
Rows = list[tuple[float, float, float, float, float]]
Pattern = tuple[Rows, Rows]

EDGE = 0.05  # QRS lasts while the root mean square of the leads is above this share of its peak
NO_WAVES = make_waves([])


@dataclass(frozen=True, eq=False)
class Beat:
    """The waves of one kind of heartbeat; times in ms from the onset of QRS, those of T from the end of T."""

    p: Waves
    qrs: Waves
    t: Waves


def _septum(axis: float, rng: Generator) -> Rows:
    """Point to the right and front for 20 ms. A deviated axis turns this: r, not Q, in leads with a deep S."""
    front = -0.28 * math.exp(0.25 * rng.normal())
    if axis < -30:
        return [(14, 5.5, 62 + 6 * rng.normal(), rng.uniform(0.18, 0.25), front)]
    if axis > 90:
        return [(14, 5.5, 25 + 8 * rng.normal(), rng.uniform(0.14, 0.20), front)]
    return [(14, 5.5, -160 + 30 * rng.normal(), rng.uniform(0.06, 0.16), front)]


def _normal(axis: float, rng: Generator) -> Pattern:
    """Activate the septum, the free walls along the axis, the posterior wall and the base."""
    anterior, rear, base = rng.normal(0.10, 0.15), 0.75 * math.exp(0.2 * rng.normal()), rng.uniform(0.1, 0.3)
    base_wave: Rows = [(66, 8, -130 + 30 * rng.normal(), base, 0.25)]
    walls: Rows = [(36, 8, 0, 1.0, anterior), (50, 8, -30 + 15 * rng.normal(), 0.35, rear)]
    return _septum(axis, rng) + base_wave, walls


def _right_axis(axis: float, rng: Generator, strong: bool) -> Pattern:
    """Point to the feet, then to the right (S in I, V5, V6), or at once with a strong right ventricle."""
    septum = _septum(axis, rng)
    if strong:
        front = -rng.uniform(0.2, 0.6)  # tall R in V1
        return septum, [(36, 8, 0, 1.0, front), (52, 9, 20, 0.4, rng.uniform(0.0, 0.3))]
    first: Rows = [(36, 8, rng.uniform(68, 80), 1.0, rng.normal(0.1, 0.1))]
    return septum + first, [(55, 9.5, 0, rng.uniform(0.85, 1.0), rng.uniform(0.3, 0.7))]


def _slow_walls(axis: float, rng: Generator) -> Pattern:
    """Slow the conduction within the walls: a slurred, notched R, otherwise as normal."""
    fixed, walls = _normal(axis, rng)
    notch: Rows = [(70, 9, rng.uniform(-20, 20), rng.uniform(0.4, 0.6), rng.uniform(0.0, 0.3))]
    centre, width, angle, septum, front = fixed[0]  # a visible q: no left bundle-branch pattern
    return [(centre, width, angle, 1.5 * septum, front), (94, 9, *fixed[1][2:])], walls + notch


def _anterior_fascicle(rng: Generator) -> Pattern:
    """Point to the feet and right (r in II, III, aVF; q in aVL), then the whole wall upwards and left."""
    start: Rows = [(13, 5.5, 112 + 6 * rng.normal(), rng.uniform(0.25, 0.35), -0.18)]
    return start, [(40, 8.5, 5, 1.0, 0.15), (56, 9, 0, 0.5, rng.uniform(0.4, 0.7)), (74, 8, -15, 0.25, 0.2)]


def _right_bundle(rng: Generator, pattern: Pattern, complete: bool) -> Pattern:
    """Replace the base by a late vector to the right and front (R' in V1, S in I and V6)."""
    fixed, walls = pattern
    rear = 0.45 if complete else 0.75
    walls = [(*wave[:4], wave[4] * rear) for wave in walls]
    angle = 178 + 10 * rng.normal()
    if complete:
        late: Rows = [(98, 15, angle, rng.uniform(0.3, 0.55), -rng.uniform(0.5, 1.0))]
    else:
        late = [(78, 9, angle, rng.uniform(0.12, 0.25), -rng.uniform(0.25, 0.45))]
    return [wave for wave in fixed if wave[0] < 60] + late, walls


def _left_bundle(rng: Generator) -> Pattern:
    """Activate the wall slowly from right to left and back: no septal q; broad, notched R in I, aVL, V5, V6."""
    rear = math.exp(0.2 * rng.normal())
    second = rng.uniform(0.75, 1.0)
    first_half: Rows = [(30, 13, 15, 0.35, 0.25 * rear), (58, 14, 5, 0.85, 0.65 * rear)]
    return [], [*first_half, (80, 15, 0, 0.25, 0.6 * rear), (104, 15, -10, second, 0.5 * rear)]


def _infarction(rng: Generator, wall: str) -> Pattern:
    """Point away from a scar for the first 45 ms, then activate the other walls."""
    away = {"inferior": (-85.0, 0.42, 0.05), "anterior": (80.0, 0.05, 0.60), "lateral": (178.0, 0.45, 0.10)}[wall]
    scar: Rows = [(24, 10, away[0] + 5 * rng.normal(), away[1], away[2])]
    if wall == "anterior":
        scar.append((44, 8, away[0], 0.05, 0.35))
    return scar, [(58, 7.5, 0, 1.0, rng.normal(0.1, 0.1)), (69, 7.5, -10, 0.3, rng.uniform(0.4, 0.7))]


def _draw_pattern(patient: Patient, rng: Generator) -> tuple[Waves, Waves]:
    """Draw QRS waves of natural width and voltage: those of fixed direction, and those that turn with the axis."""
    if patient.conduction in ("LBBB", "paced"):
        pattern = _left_bundle(rng)
    elif patient.q_wave != "none":
        pattern = _infarction(rng, patient.q_wave)
    elif patient.conduction == "slow":
        pattern = _slow_walls(patient.axis, rng)
    elif patient.fascicle == "anterior":
        pattern = _anterior_fascicle(rng)
    elif patient.axis > 90:
        pattern = _right_axis(patient.axis, rng, strong=patient.axis > 120 and patient.conduction == "normal")
    else:
        pattern = _normal(patient.axis, rng)
    if patient.conduction in ("RBBB", "IRBBB"):
        pattern = _right_bundle(rng, pattern, complete=patient.conduction == "RBBB")
    return make_waves(pattern[0]), make_waves(pattern[1])


def _polar(flat: Array) -> tuple[Array, Array]:
    """Return angles (radians) and lengths, (waves,) each, of vectors (waves, 2)."""
    return np.arctan2(flat[:, 1], flat[:, 0]), np.hypot(flat[:, 0], flat[:, 1])


def _turn_to_axis(fixed: Waves, turning: Waves, axis: float) -> Waves:
    """Join the waves, with the second lot turned in the frontal plane until their common net area lies on the axis, or
    as near as possible if the first lot is too strong."""
    still, moving = frontal_plane(fixed.area()), frontal_plane(turning.area())
    target = math.radians(axis)
    across = math.cos(target) * still[1] - math.sin(target) * still[0]  # of the fixed waves, to be balanced
    turn = target - math.asin(np.clip(across / np.hypot(*moving), -1, 1)) - math.atan2(moving[1], moving[0])
    angle, length = _polar(frontal_plane(turning.vector))
    vector = direction(np.degrees(angle + turn), length, turning.vector[:, 2])
    return join(fixed, replace(turning, vector=vector))


def fit_duration(waves: Waves, width: float, matrix: Array) -> Waves:
    """Stretch and shift waves so that they last from 0 to `width` ms in the leads of `matrix` (8, 3); see `EDGE`."""
    times = np.arange(-150.0, 350.0, 0.5)
    size = np.sqrt(np.mean((matrix @ waves.at(times)) ** 2, axis=0))
    onset, *_, end = times[size > EDGE * size.max()].tolist()
    factor = width / (end - onset)
    return Waves((waves.centre - onset) * factor, waves.rise * factor, waves.fall * factor, waves.vector)


def limb_voltage(waves: Waves) -> float:
    """Return the largest peak-to-peak voltage of the six limb leads, mV."""
    one, two = DOWER[:2] @ waves.at(np.arange(-100.0, 400.0))
    leads = np.stack([one, two, two - one, (one + two) / 2, one - two / 2, two - one / 2])
    return float(np.ptp(leads, axis=1).max())


def _scale_to_voltage(waves: Waves, voltage: float) -> Waves:
    """Scale waves to a limb voltage; low voltage affects the chest leads less (the vector towards the back)."""
    factor = voltage / limb_voltage(waves)
    if voltage >= 0.5:
        return waves.scaled(factor)
    angle, length = _polar(frontal_plane(waves.vector) * factor)
    low = replace(waves, vector=direction(np.degrees(angle), length, waves.vector[:, 2] * math.sqrt(factor)))
    return low.scaled(min(1.0, voltage / limb_voltage(low)))


def _draw_qrs(patient: Patient, matrix: Array, rng: Generator) -> Waves:
    fixed, turning = _draw_pattern(patient, rng)
    # The late right part of a bundle-branch block does not count for the axis.
    late = (fixed.centre > 75) & (patient.conduction in ("RBBB", "IRBBB"))
    waves = join(_turn_to_axis(fixed.select(~late), turning, patient.axis), fixed.select(late))
    return fit_duration(_scale_to_voltage(waves, patient.limb_voltage), patient.qrs, matrix)


def _draw_t_vector(patient: Patient, qrs: Waves, rng: Generator) -> Array:
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
    # After a right bundle-branch block T is inverted in V1, opposite to the last part of QRS.
    depth = {"RBBB": 0.5, "IRBBB": 0.0}.get(patient.conduction, -rng.uniform(0.05, 0.9))
    return direction(angle, size, depth * size)


def _draw_t(patient: Patient, qrs: Waves, rng: Generator) -> Waves:
    """Draw the T wave, its end (where the tangent of its fall meets zero) at time 0."""
    vector = _draw_t_vector(patient, qrs, rng)[None]
    rise, fall = rng.uniform(42, 58, 1), rng.uniform(30, 38, 1)
    if patient.t_wave == "secondary":
        rise, fall = 1.2 * rise, 1.2 * fall  # ST slopes into T
    if patient.t_wave == "biphasic":  # up, then down
        up = Waves(-2 * fall - 75, fall, fall, 0.6 * vector)
        return join(up, Waves(-2 * fall, fall, fall, -0.55 * vector))
    return Waves(-2 * fall, rise, fall, vector)


def _draw_p(start: float, rng: Generator, ectopic: bool = False) -> Waves:
    """Draw a P wave that begins `start` ms before QRS: right, then left atrium; an ectopic one runs upwards."""
    size, width = math.exp(0.25 * rng.normal()), rng.uniform(15, 18)
    centre = 2.2 * width - start
    if ectopic:
        first = (centre, width, -75 + 15 * rng.normal(), 0.09 * size, 0.03)
        return make_waves([first, (centre + 38, width, -60 + 15 * rng.normal(), 0.07 * size, -0.04)])
    first = (centre, width, 60 + 10 * rng.normal(), 0.10 * size, -0.05)
    return make_waves([first, (centre + 38, width, 45 + 10 * rng.normal(), 0.09 * size, 0.05)])


def _draw_spike(time: float, rng: Generator) -> Waves:
    """Draw a pacemaker's pulse at `time` ms: half a millisecond wide, along the axis of the electrode."""
    size = rng.uniform(1.2, 3.5)
    vector = direction(-75 + 15 * rng.normal(), size, rng.uniform(-0.4, 0.4) * size)
    return Waves(np.array([time]), np.array([0.4]), np.array([0.4]), vector[None])


def _draw_atria(patient: Patient, rng: Generator) -> Waves:
    """Draw the P wave of each regular beat, if there is one; it may run backwards out of a junctional beat."""
    if patient.rhythm == "sinus":
        return _draw_p(patient.pr, rng)
    if patient.rhythm == "junctional" and rng.random() < 0.4:
        return _draw_p(-patient.qrs - rng.uniform(20, 60), rng, ectopic=True).scaled(0.8)
    if patient.rhythm == "paced" and rng.random() < 0.35:  # both chambers are paced
        delay = rng.uniform(150, 190)
        return join(_draw_p(delay, rng), _draw_spike(-delay - 12, rng).scaled(0.6))
    return NO_WAVES


def regular_beat(patient: Patient, matrix: Array, rng: Generator) -> Beat:
    """Draw the regular beat of the patient's rhythm; `matrix` (8, 3) projects the dipole on the patient's leads."""
    atria = _draw_atria(patient, rng)
    qrs = _draw_qrs(patient, matrix, rng)
    t = _draw_t(patient, qrs, rng)
    if patient.rhythm == "paced":
        qrs = join(_draw_spike(-rng.uniform(6, 14), rng), qrs)
    return Beat(atria, qrs, t)


def atrial_premature_beat(patient: Patient, regular: Beat, rng: Generator) -> Beat:
    """Draw a premature atrial beat: another P wave, the same ventricles."""
    return Beat(_draw_p(max(125.0, 0.9 * patient.pr), rng, ectopic=True), regular.qrs, regular.t)


def ventricular_premature_beat(patient: Patient, matrix: Array, rng: Generator) -> Beat:
    """Draw a premature ventricular beat: no P, a wide QRS from somewhere in the ventricles, T against it."""
    axis, voltage = rng.uniform(-120, 140), 1.3 * max(0.7, patient.limb_voltage) * rng.uniform(0.8, 1.3)
    rear = rng.choice([-1.0, 1.0]) * rng.uniform(0.4, 1.0)  # from the left ventricle: towards the front; or the right
    start: Rows = [(25, 13, 20 + axis, 0.35, 0.3 * rear), (60, 20, axis, 1.0, rear)]
    waves = make_waves([*start, (100, 17, axis - 25, rng.uniform(0.2, 0.6), 0.6 * rear)])
    qrs = fit_duration(waves.scaled(voltage / limb_voltage(waves)), rng.uniform(135, 175), matrix)
    vector = -qrs.area() / np.linalg.norm(qrs.area()) * 0.4 * voltage
    return Beat(NO_WAVES, qrs, Waves(np.array([-70.0]), np.array([55.0]), np.array([35.0]), vector[None]))
