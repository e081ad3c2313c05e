"""One person's brain and the exact map between it and MNI152.

A point x of MNI152 lies at ``A(x + u(x))`` in the person's T1w image: u is the flow of a velocity field
(the non-linear part), A the pose and the size of the head.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from neurostrata.core.errors import UserError
from neurostrata.simulation.images.regions import VENTRICLES, Regions
from neurostrata.simulation.images.templates import SPACING_MM, Templates
from neurostrata.simulation.images.velocity import (
    exponential,
    jacobian_determinant,
    random_field,
    random_velocity,
    sample,
    source_velocity,
)
from neurostrata.simulation.people import effects
from neurostrata.simulation.people.people import Person, stream

#: Random deformation: width of the structures (FWHM, mm) -> standard deviation of the velocity, mm.
VELOCITY_SCALES = {8.0: 0.15, 16.0: 0.4, 28.0: 0.7, 40.0: 1.0}
#: Share of the variance of the random deformation that a family has in common.
FAMILY_SHARE = 0.3
#: Person-specific deviation of each region's log-Jacobian on top of the random deformation.
REGION_SD = 0.03
#: Person-specific folding that no deformation of MNI152 gives: a random change of the odds of tissues.
FOLDING_MM, FOLDING_SD = 5.0, 0.7
#: Exponent that reverses some of the blur of the averaged tissue maps.
_SHARPEN = 1.4


@dataclass(frozen=True)
class Anatomy:
    """A person's brain on the grid of the templates.

    Attributes
    ----------
    displacement, inverse
        (3, X, Y, Z), mm: ``x -> x + u(x)`` and its inverse, in MNI coordinates.
    log_jacobian
        (X, Y, Z), log det D(x + u(x)), > 0 where the person's region is larger than MNI152's.
    affine
        (4, 4), A: from there to the coordinates of the person's T1w image, mm.
    tissues
        (3, X, Y, Z), white matter, grey matter, CSF of the person before the deformation, in MNI space.
    """

    displacement: np.ndarray
    inverse: np.ndarray
    log_jacobian: np.ndarray
    affine: np.ndarray
    tissues: np.ndarray

    def to_template(self, points: np.ndarray, templates: Templates) -> np.ndarray:
        """Return the positions in the templates' voxels, (3, n), of points (3, n) of the T1w image."""
        back = np.linalg.inv(templates.affine) @ np.linalg.inv(self.affine)
        index = (back[:3, :3] @ points + back[:3, 3:]).astype(np.float32)
        moved = np.stack([sample(part, index) for part in self.inverse])
        return index + moved / np.float32(SPACING_MM)


@dataclass(frozen=True)
class Head:
    """What all people of a cohort share: the templates, the regions, the planted effects."""

    templates: Templates
    regions: Regions
    planted: effects.Planted

    @cached_property
    def spreading(self) -> np.ndarray:
        """Return the matrix from regional means to the values whose smooth map has these means."""
        count = len(self.regions.names)
        columns = [self.regions.means(self.smooth_map(np.eye(count)[k], exact=False)) for k in range(count)]
        return np.linalg.inv(np.stack(columns, axis=1))

    @cached_property
    def detail(self) -> np.ndarray:
        """Return the part of MNI152's intensities that its tissues do not explain, (X, Y, Z), relative to white matter."""
        t = self.templates
        inside = t.brain > 0.5
        design = np.stack([t.wm[inside], t.gm[inside], t.csf[inside]], axis=1)
        weights = np.linalg.lstsq(design, t.t1w[inside], rcond=None)[0]
        rest = np.zeros_like(t.t1w)
        rest[inside] = (t.t1w[inside] - design @ weights) / weights[0]
        return rest.astype(np.float32)

    def smooth_map(self, values: np.ndarray, exact: bool = True) -> np.ndarray:
        """Return a smooth map (X, Y, Z) whose regional means are `values`."""
        if exact:
            values = self.spreading @ values
        return self.regions.spread(values)


def rotation_matrix(degrees: np.ndarray) -> np.ndarray:
    """Return the rotation (3, 3) about x, then y, then z by three angles in degrees."""
    a, b, c = np.deg2rad(degrees)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def rigid_matrix(degrees: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Return the rigid transform (4, 4): rotation about the origin, then a shift in mm."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_matrix(degrees)
    matrix[:3, 3] = shift
    return matrix


def person_affine(person: Person, seed: int, centre: np.ndarray) -> np.ndarray:
    """Return the person's pose and head size, (4, 4): MNI to T1w coordinates, the brain near the origin."""
    rng = stream(seed, "pose", person.number)
    stretch = person.head_scale * np.exp(rng.normal(0.0, 0.012, 3))
    pose = rigid_matrix(rng.uniform(-7, 7, 3), rng.uniform(-4, 4, 3))
    move = np.eye(4)
    move[:3, 3] = -centre
    return pose @ np.diag([*stretch, 1.0]) @ move


def region_growth(person: Person, seed: int, head: Head) -> np.ndarray:
    """Return the log-Jacobian planted in a person's regions by group, age, diagnosis and chance, (regions,)."""
    rng = stream(seed, "growth", person.number)
    names = head.regions.names
    ageing = np.where(np.array(names) == VENTRICLES, effects.AGE_VENTRICLES, effects.AGE_PARCELS)
    chance = REGION_SD * rng.standard_normal(len(names))
    growth = head.planted.growth[person.label] + ageing * person.age_z + chance
    if head.planted.diagnosis_growth is not None:
        growth += head.planted.diagnosis_growth[int(person.patient)]
    return growth


def _velocity(person: Person, seed: int, head: Head) -> np.ndarray:
    """Return the velocity field of a person: planted sources, the family's part and the person's own."""
    templates = head.templates
    individual = random_velocity(
        templates.shape, SPACING_MM, VELOCITY_SCALES, stream(seed, "velocity", person.number)
    )
    shared = random_velocity(
        templates.shape, SPACING_MM, VELOCITY_SCALES, stream(seed, "family", person.family)
    )
    density = head.smooth_map(region_growth(person, seed, head))
    # growth is compensated by the whole brain: head size is planted by the affine part alone
    inside = templates.brain > 0.5
    density -= head.regions.spread(np.full(len(head.regions.names), 1.0)) * density[inside].mean()
    velocity = np.sqrt(1.0 - FAMILY_SHARE) * individual + np.sqrt(FAMILY_SHARE) * shared
    return (velocity + source_velocity(density, SPACING_MM)).astype(np.float32)


def _folded_tissues(person: Person, seed: int, templates: Templates) -> np.ndarray:
    """Return the person's tissue maps in MNI space: MNI152's, sharper, with folds of the person's own."""
    rng = stream(seed, "folding", person.number)
    fractions = np.stack([templates.wm, templates.gm, templates.csf])
    odds = _SHARPEN * np.log(fractions + 0.02)
    for part in odds:
        part += random_field(templates.shape, SPACING_MM, {FOLDING_MM: FOLDING_SD}, rng)
    odds = np.exp(odds - odds.max(axis=0))
    return (odds / odds.sum(axis=0) * templates.brain).astype(np.float32)


def make_anatomy(person: Person, seed: int, head: Head) -> Anatomy:
    """Grow a person's brain.

    Raises
    ------
    UserError
        When the deformation folds somewhere (its determinant is not positive): the planted effects
        are too large for the grid.
    """
    templates = head.templates
    velocity = _velocity(person, seed, head)
    displacement = exponential(velocity, SPACING_MM)
    inverse = exponential(-velocity, SPACING_MM)
    determinant = jacobian_determinant(displacement, SPACING_MM)
    backward = jacobian_determinant(inverse, SPACING_MM)
    if not (determinant.min() > 0 and backward.min() > 0):
        raise UserError(
            f"subject {person.subject}: the deformation folds (smallest determinant "
            f"{min(determinant.min(), backward.min()):.3f}); use a smaller --effect"
        )
    return Anatomy(
        displacement,
        inverse,
        np.log(determinant),
        person_affine(person, seed, templates.centre),
        _folded_tissues(person, seed, templates),
    )
