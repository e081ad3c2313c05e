"""Split halves: clusters found in one half of the people are tested in the other half."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from neurostrata.core.families import family_blocks, family_parts
from neurostrata.strata.comparison.kruskal import (
    benjamini_hochberg,
    eta_squared,
    groups_with_values,
    rank_factors,
)
from neurostrata.strata.comparison.repartition import permuted_labels, repartition
from neurostrata.strata.existence.membership import discriminant, distance_components
from neurostrata.strata.finders.interface import Array, Finder, Finding, Labels, Progress

#: Random repartitions for the p-value of a factor in one held-out half, and for the agreement by chance.
DRAWS = 999
CHANCE = 100

COLUMNS = {
    "split": "number of the random division into halves",
    "n_first": "people of the half in which clusters were found",
    "n_second": "people of the held-out half",
    "k_first": "clusters found in the first half",
    "k_second": "clusters found in the second half by itself",
    "adjusted_rand": "second half: adjusted Rand index of the clusters of the first half, to which its people were "
    "assigned, and of the clusters found in it by itself",
    "agreement_p95": "95th percentile of that index when the assigned people change places at random",
}
FACTOR_COLUMNS = {
    "factor": "name of the factor",
    "eta2": "median over the splits of its effect size between assigned clusters in the held-out half",
    "eta2_low": "5th percentile over the splits",
    "eta2_high": "95th percentile over the splits",
    "share_below_alpha": "share of the splits in which the held-out half's p is at most alpha",
    "p": "twice the median over the splits of the held-out half's p, which is valid however the splits depend on each other",
    "q": "Benjamini-Hochberg false-discovery rate of p over the factors",
    "splits": "random divisions into halves",
}


@dataclass(frozen=True)
class Split:
    """Result of one division into halves.

    Attributes
    ----------
    row
        Columns :data:`COLUMNS` without the number of the split.
    eta2, p
        Per factor, in the held-out half; 0 and 1 where nothing can be tested.
    """

    row: dict[str, float]
    eta2: Array
    p: Array


def assign(codes: Array, finding: Finding, others: Array) -> Labels:
    """Assign other people to the clusters found in some; return their clusters, from 1.

    Components and clusters are learned from the first people; the codes of the others are only projected.

    Parameters
    ----------
    codes
        People x dimensions in which the clusters were found.
    finding
        The clusters.
    others
        Other people x dimensions.
    """
    if finding.number < 2:
        return np.ones(len(others), dtype=np.intp)
    centre = codes.mean(axis=0)
    _, scale, axes = np.linalg.svd(codes - centre, full_matrices=False)
    kept = min(distance_components(finding, len(codes)), int((scale > 1e-9 * scale[0]).sum()))
    projected = axes[:kept].T
    posterior = discriminant(
        (codes - centre) @ projected, finding.clusters - 1, (others - centre) @ projected
    )[1]
    return posterior.argmax(axis=1).astype(np.intp) + 1


def one_split(
    finder: Finder,
    codes: Array,
    scores: Array,
    families: Sequence[str],
    generator: np.random.Generator,
) -> Split:
    """Divide people once, find clusters in the first half, test the second.

    Parameters
    ----------
    finder
        The form that is repeated (:meth:`Finder.quick`).
    codes, scores
        People x dimensions; people x factors, NaN: missing.
    families
        One per person; never divided.
    generator
        Of the division.
    """
    from sklearn.metrics import adjusted_rand_score

    half = family_parts(families, 2, generator)
    if (half == 0).sum() < (half == 1).sum():
        half = 1 - half
    first, second = np.flatnonzero(half == 0), np.flatnonzero(half == 1)
    first_finding = finder.find(codes[first])
    second_finding = finder.find(codes[second])
    assigned = assign(codes[first], first_finding, codes[second])
    relatives = [families[int(row)] for row in second]
    agreement = chance = float("nan")
    if first_finding.number > 1 and second_finding.number > 1:
        agreement = float(adjusted_rand_score(assigned, second_finding.clusters))
        permuted = next(permuted_labels(assigned, family_blocks(relatives), CHANCE, generator))
        chance = float(
            np.percentile([adjusted_rand_score(labels, second_finding.clusters) for labels in permuted], 95)
        )
    held_out = scores[second]
    seed = int(generator.integers(2**31))
    result = repartition(held_out, assigned, relatives, DRAWS, seed)
    _, labels = np.unique(assigned, return_inverse=True)
    present = groups_with_values(rank_factors(held_out), labels.ravel(), int(labels.max()) + 1)
    eta2 = [eta_squared(h, int(k), int(n)) for h, k, n in zip(result.h, present, result.n)]
    row = {
        "n_first": len(first),
        "n_second": len(second),
        "k_first": first_finding.number,
        "k_second": second_finding.number,
        "adjusted_rand": agreement,
        "agreement_p95": chance,
    }
    # where the first half has no clusters, or all of the second half fall into one, there is no difference to show
    return Split(row, np.nan_to_num(np.array(eta2), nan=0.0), np.nan_to_num(result.p, nan=1.0))


def split_halves(
    finder: Finder,
    codes: Array,
    scores: pd.DataFrame,
    families: Sequence[str],
    splits: int,
    alpha: float,
    seed: int,
    progress: Progress | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Divide people many times; see :func:`one_split`.

    Parameters
    ----------
    finder
        Its :meth:`Finder.quick` form is run.
    codes
        People x dimensions.
    scores
        The same people x factors; NaN: missing.
    families
        One per person, "" for none.
    splits
        How many divisions.
    alpha
        Of ``share_below_alpha``.
    seed
        Of the divisions.

    Returns
    -------
    table, factors
        Columns :data:`COLUMNS` and :data:`FACTOR_COLUMNS`.
    """
    from joblib import Parallel, delayed

    quick, values = finder.quick(codes), scores.to_numpy(dtype=float)

    def numbered_split(number: int) -> Split:
        return one_split(quick, codes, values, families, np.random.default_rng([seed, number]))

    # The first split runs alone, so that what a finder caches for so many people is there for all threads.
    results = [numbered_split(1)]
    run = Parallel(n_jobs=finder.threads, backend="threading", return_as="generator")
    for result in run(delayed(numbered_split)(number) for number in range(2, splits + 1)):
        results.append(result)
        if progress is not None:
            progress(len(results), splits)
    table = pd.DataFrame([{"split": number, **found.row} for number, found in enumerate(results, start=1)])
    eta2, p = np.stack([found.eta2 for found in results]), np.stack([found.p for found in results])
    combined = np.minimum(1.0, 2 * np.median(p, axis=0))
    tested = scores.notna().any().to_numpy()
    factors = pd.DataFrame(
        {
            "factor": scores.columns,
            "eta2": np.median(eta2, axis=0),
            "eta2_low": np.percentile(eta2, 5, axis=0),
            "eta2_high": np.percentile(eta2, 95, axis=0),
            "share_below_alpha": (p <= alpha).mean(axis=0),
            "p": np.where(tested, combined, np.nan),
            "splits": splits,
        }
    )
    factors["q"] = benjamini_hochberg(factors["p"].to_numpy())
    return table[list(COLUMNS)], factors[list(FACTOR_COLUMNS)]
