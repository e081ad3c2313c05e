"""Replicability of the phenotype factors: Tucker's congruence between random halves of the people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from neurostrata.core.families import family_parts
from neurostrata.phenotypes.factors import principal_varimax, tucker_congruence

Array = NDArray[np.float64]

#: Random divisions into halves.
SPLITS = 100

COLUMNS = {
    "factor": "name of the factor",
    "congruence": "Tucker's congruence of its loadings in one half of the people and in the other, mean over random halves",
    "low": "5th percentile over the halves",
    "splits": "random divisions into halves, families never divided",
}


def standardise_safely(values: Array) -> Array:
    """Return (values - mean) / sd; a variable that is constant among these people becomes 0."""
    sd = values.std(axis=0, ddof=1)
    return np.asarray((values - values.mean(axis=0)) / np.where(sd > 0, sd, np.inf))


def matched_loadings(loadings: Array, reference: Array) -> Array:
    """Return loadings (variables x factors) in the order and with the signs that match the reference best.

    A reference factor without a partner gets loadings of 0.
    """
    from scipy.optimize import linear_sum_assignment

    with np.errstate(invalid="ignore", divide="ignore"):
        congruence = np.nan_to_num(tucker_congruence(reference, loadings))
    rows, columns = linear_sum_assignment(-np.abs(congruence))
    matched = np.zeros_like(reference)
    matched[:, rows] = loadings[:, columns] * np.where(congruence[rows, columns] < 0, -1.0, 1.0)
    return matched


def half_congruence(
    values: Array,
    loadings: Array,
    families: Sequence[str],
    splits: int,
    seed: int,
    **rotation: Any,
) -> Array:
    """Return the congruence of each factor between two halves of the people (splits x factors).

    Parameters
    ----------
    values
        People x variables, complete.
    loadings
        Variables x factors, of everybody; each half's factors are matched to these, one to one.
    families
        One per person, "" for none.
    splits
        Random divisions.
    seed
        Of the divisions.
    **rotation
        ``tolerance`` and ``max_iter`` of :func:`principal_varimax`.
    """
    generator = np.random.default_rng(seed)
    found = np.zeros((splits, loadings.shape[1]))
    for split in range(splits):
        part = family_parts(families, 2, generator)
        halves = [
            matched_loadings(
                principal_varimax(
                    standardise_safely(values[part == half]), loadings.shape[1], **rotation
                ).loadings,
                loadings,
            )
            for half in (0, 1)
        ]
        norms = np.linalg.norm(halves[0], axis=0) * np.linalg.norm(halves[1], axis=0)
        product = (halves[0] * halves[1]).sum(axis=0)
        found[split] = np.divide(product, norms, out=np.zeros_like(product), where=norms > 0)
    return found


def congruence_table(factors: Sequence[str], found: Array) -> pd.DataFrame:
    """Return the table of :data:`COLUMNS`."""
    return pd.DataFrame(
        {
            "factor": list(factors),
            "congruence": found.mean(axis=0),
            "low": np.percentile(found, 5, axis=0),
            "splits": len(found),
        },
        columns=list(COLUMNS),
    )
