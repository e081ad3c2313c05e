"""Questionnaires with a simple structure: a few factors, several variables each, shifts between groups."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

#: Names of the first factors; later ones are numbered.
DOMAINS = ("mood", "memory", "impulse", "sleep")
#: Share of the cells that are missing.
MISSING = 0.005
#: Between-group standard deviation of a shifted factor at effect 1, in within-group deviations.
SHIFT = 1.5
#: Correlation of the scores of people of one family.
FAMILY_SHARE = 0.3
#: Correlation of the last factor with age.
AGE_SLOPE = -0.4


def group_contrasts(sizes: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return mutually orthogonal contrasts between groups, (groups, groups - 1).

    Each column has mean 0 and variance 1 over the people of the groups, and two columns are uncorrelated
    over them (Gram-Schmidt, weighted by group size, of linear, quadratic, ... trends), so that factors
    shifted along different columns stay uncorrelated.
    """
    weights = np.asarray(sizes, dtype=np.float64) / np.sum(sizes)
    count = len(weights)
    trend = np.linspace(-1.0, 1.0, count)
    columns: list[np.ndarray] = [np.ones(count)]
    for power in range(1, count):
        column = trend**power
        for earlier in columns:
            column = column - (weights * column * earlier).sum() * earlier
        columns.append(column / np.sqrt((weights * column**2).sum()))
    return np.stack(columns[1:], axis=1)


def factor_scores(
    groups: np.ndarray,
    families: np.ndarray,
    age_z: np.ndarray,
    rng: np.random.Generator,
    factors: int = 4,
    effect: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the true factor scores of people.

    The first factors are shifted between the groups, each along a contrast of its own
    (:func:`group_contrasts`); at least half of the factors are not shifted, and the last of
    them falls with age. People of a family share :data:`FAMILY_SHARE` of the variance within groups.

    Parameters
    ----------
    groups, families
        (people,), group and family numbers.
    age_z
        (people,), standardised age.
    rng
        Source of randomness.
    factors
        Number of factors.
    effect
        Between-group standard deviation of a shifted factor in units of :data:`SHIFT` within-group
        standard deviations; the scores are then scaled back to a variance of 1.

    Returns
    -------
    scores
        (people, factors), variance 1 in the population.
    shifts
        (groups, factors), the groups' expected scores.
    """
    count = int(groups.max()) + 1
    sizes = np.maximum(np.bincount(groups, minlength=count), 1)
    contrasts = group_contrasts(sizes)
    shifts = np.zeros((count, factors))
    shifted = min(count - 1, factors // 2)
    shifts[:, :shifted] = effect * SHIFT * contrasts[:, :shifted]
    shared = rng.standard_normal((int(families.max()) + 1, factors))[families]
    individual = rng.standard_normal((len(groups), factors))
    within = np.sqrt(FAMILY_SHARE) * shared + np.sqrt(1.0 - FAMILY_SHARE) * individual
    within[:, -1] = AGE_SLOPE * age_z + np.sqrt(1.0 - AGE_SLOPE**2) * within[:, -1]
    total = np.sqrt(1.0 + (effect * SHIFT) ** 2 * (np.arange(factors) < shifted))
    return (shifts[groups] + within) / total, shifts / total


def simple_loadings(factors: int = 4, variables: int = 5, loading: float = 0.75) -> np.ndarray:
    """Return loadings (factors x variables, factors): each variable loads on one factor only."""
    return np.kron(np.eye(factors), np.full((variables, 1), loading))


def variable_names(factors: int, variables: int) -> list[str]:
    """Return the names of the variables in the order of :func:`simple_loadings`: ``mood_1``, ..."""
    domains = [DOMAINS[k] if k < len(DOMAINS) else f"domain{k + 1:02d}" for k in range(factors)]
    return [f"{domain}_{number + 1}" for domain in domains for number in range(variables)]


def answers(
    scores: np.ndarray, loadings: np.ndarray, rng: np.random.Generator, missing: float = MISSING
) -> pd.DataFrame:
    """Draw the variables of people with given factor scores, as test scores of mean 50 and sd 10.

    Parameters
    ----------
    scores
        (people, factors).
    loadings
        (variables, factors); the rest of each variable's variance is noise.
    rng
        Source of randomness.
    missing
        Share of the cells left empty (NaN).
    """
    people, variables = len(scores), len(loadings)
    unique = np.sqrt(np.clip(1.0 - (loadings**2).sum(axis=1), 0.0, None))
    values = scores @ loadings.T + unique * rng.standard_normal((people, variables))
    table = np.round(50.0 + 10.0 * values, 1)
    table[rng.random(table.shape) < missing] = np.nan
    factors = loadings.shape[1]
    return pd.DataFrame(table, columns=variable_names(factors, variables // factors))
