"""The oracle: how well the planted strata can be found from the true regional values themselves."""

from __future__ import annotations

from typing import Any

import numpy as np


def _standardise(values: np.ndarray) -> np.ndarray:
    """Return columns with mean 0 and standard deviation 1; constant columns become 0."""
    deviation = values.std(axis=0)
    return (values - values.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)


#: A coarse grid of affinity propagation.
GRID = {
    "damping": {"min": 0.5, "max": 1.0, "steps": 5},
    "preference": {"low": 1, "high": 99, "steps": 40},
    "max_iter": 500,
    "convergence_iter": 15,
    "sample": None,
}


def affinity_labels(values: np.ndarray, seed: int) -> np.ndarray | None:
    """Return the affinity propagation labels of the best silhouette over :data:`GRID`; None if none converged.

    Parameters
    ----------
    values
        (people, features).
    seed
        Random state of the clustering.
    """
    from neurostrata.strata.finders.affinity_propagation import AffinityPropagation

    finding = AffinityPropagation(GRID, seed).find(values)
    return None if finding.reason else finding.clusters


def discriminant_auc(values: np.ndarray, labels: np.ndarray, seed: int) -> float | None:
    """Return the macro one-vs-rest AUC of a cross-validated, shrunken linear discriminant.

    None when the smallest group has fewer than two people, or training people are no more than groups.
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    smallest = int(np.bincount(labels).min())
    if smallest < 2:
        return None
    count = min(5, smallest)
    if len(labels) - -(-len(labels) // count) <= len(np.unique(labels)):
        return None
    folds = StratifiedKFold(count, shuffle=True, random_state=seed)
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    chances = cross_val_predict(model, values, labels, cv=folds, method="predict_proba")
    if chances.shape[1] == 2:
        return float(roc_auc_score(labels, chances[:, 1]))
    return float(roc_auc_score(labels, chances, multi_class="ovr", average="macro"))


def oracle(values: np.ndarray, strata: np.ndarray, sites: np.ndarray, seed: int) -> dict[str, Any]:
    """Return the results that no method working on the images can be expected to beat.

    Parameters
    ----------
    values
        (people, features), true regional values; standardised here.
    strata, sites
        (people,), true group numbers.
    seed
        Random state.

    Returns
    -------
    dict
        ``adjusted_rand``: the better of ``adjusted_rand_affinity_propagation`` (null when no setting
        converged) and ``adjusted_rand_kmeans`` (with the true number of strata); ``auc``, see
        :func:`discriminant_auc`; ``adjusted_rand_sites``: agreement of the same two clusterings with the
        sites instead (the better one); ``clusters_affinity_propagation``; ``people``; ``features``.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_rand_score

    values = _standardise(values)
    groups = len(np.unique(strata))
    clusterings = [KMeans(groups, n_init=20, random_state=seed).fit(values).labels_]
    propagated = affinity_labels(values, seed)
    if propagated is not None:
        clusterings.append(propagated)
    rand = [float(adjusted_rand_score(strata, labels)) for labels in clusterings]
    auc = discriminant_auc(values, strata, seed)

    def short(number: float | None) -> float | None:
        return None if number is None else round(number, 6)

    return {
        "adjusted_rand": short(max(rand)),
        "adjusted_rand_kmeans": short(rand[0]),
        "adjusted_rand_affinity_propagation": short(rand[1]) if propagated is not None else None,
        "clusters_affinity_propagation": None if propagated is None else len(np.unique(propagated)),
        "adjusted_rand_sites": short(max(float(adjusted_rand_score(sites, c)) for c in clusterings)),
        "auc": short(auc),
        "people": len(values),
        "features": values.shape[1],
    }
