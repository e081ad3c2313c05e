"""Random rotations of people that leave relatives as alike as they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurostrata.strata.finders.interface import Array, Labels

#: Directions with less than this share of the largest extent are rounding.
_ROUNDING = 1e-10


@dataclass(frozen=True)
class _Families:
    """All families of one size.

    Attributes
    ----------
    people
        Families x members: rows of the values.
    level
        Mean of all of them, (components,).
    between
        Directions x components: a root of the cross products of the families' means about the level.
    within
        Families x (members - 1) x components: the members' deviations from their family's mean, in an orthonormal basis of
        what sums up to 0.
    """

    people: Labels
    level: Array
    between: Array
    within: Array


class RotatedFamilies:
    """Draws values of people that have the covariance and the resemblance of relatives of given ones, and no groups.

    Among the families of each size, the means of the families are turned into each other by a random rotation. The members of
    each family are turned about their mean by a rotation of their own, so that twins remain closer than siblings. The cross
    products of components, between families and within each, remain exactly what they are; what else there is in the
    means (groups, tails, order) is lost, and they are drawn close to normal. Without relatives it is a random rotation of
    all people.

    Parameters
    ----------
    values
        People x components.
    family
        Number of each person's family.
    """

    def __init__(self, values: Array, family: Labels) -> None:
        self._shape = values.shape
        order = np.argsort(family, kind="stable")
        size_of = np.bincount(family)[family[order]]
        self._families = []
        for size in np.unique(size_of):
            people = order[size_of == size].reshape(-1, size)
            means = values[people].mean(axis=1)
            level = means.mean(axis=0)
            within = np.einsum("dm,fmc->fdc", _contrasts(size), values[people])
            self._families.append(_Families(people, level, _root(means - level), within))

    def draw(self, generator: np.random.Generator) -> Array:
        """Return other values of the same people (people x components)."""
        drawn = np.empty(self._shape)
        for one in self._families:
            families, size = one.people.shape
            noise = generator.standard_normal((families, len(one.between)))
            means = one.level + _orthonormal(noise - noise.mean(axis=0)) @ one.between
            turns = _orthonormal(generator.standard_normal((families, size - 1, size - 1)))
            deviations = _contrasts(size).T @ turns @ one.within
            drawn[one.people] = means[:, None] + deviations
        return drawn


def _contrasts(size: int) -> Array:
    """Return an orthonormal basis, (size - 1) x size, of the differences between the members of a family."""
    from scipy.linalg import helmert

    return np.asarray(helmert(size)) if size > 1 else np.empty((0, 1))


def _root(values: Array) -> Array:
    """Return a matrix (directions x components) with the cross products of the columns of some values."""
    _, extent, turn = np.linalg.svd(values, full_matrices=False)
    kept = extent > _ROUNDING * extent.max(initial=1.0)
    return np.asarray(extent[kept, None] * turn[kept])


def _orthonormal(noise: Array) -> Array:
    """Return the orthonormal columns nearest to those of normal noise, evenly distributed; of a stack, for each matrix."""
    left, _, right = np.linalg.svd(noise, full_matrices=False)
    return np.asarray(left @ right)
