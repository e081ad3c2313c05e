"""The oracle: how well the planted strata can be found from the true regional values themselves."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np


def _standardise(values: np.ndarray) -> np.ndarray:
    """Return columns with mean 0 and standard deviation 1; constant columns become 0."""
    deviation = values.std(axis=0)
    return (values - values.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)


def affinity_labels(values: np.ndarray, seed: int) -> np.ndarray | None:
    """Return the affinity propagation labels of the best silhouette over a coarse grid; None if none converged.

    Parameters
    ----------
    values
        (people, features).
    seed
        Random state of the clustering.
    """
    from sklearn.cluster import AffinityPropagation
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import pairwise_distances, silhouette_score

    count = len(values)
    distances = pairwise_distances(values)
    similarity = -(distances**2)
    off = similarity[~np.eye(count, dtype=bool)]
    low, high = (float(np.percentile(off, rank)) for rank in (1, 99))
    best, best_score = None, -np.inf
    for damping in np.linspace(0.5, 1.0, 5, endpoint=False):
        for preference in np.linspace(low, high, 40):
            model = AffinityPropagation(
                damping=damping,
                preference=preference,
                affinity="precomputed",
                max_iter=500,
                random_state=seed,
            )
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", ConvergenceWarning)
                labels = model.fit(similarity).labels_
            clusters = len(np.unique(labels))
            if any(issubclass(w.category, ConvergenceWarning) for w in caught) or not 2 <= clusters < count:
                continue
            score = silhouette_score(distances, labels, metric="precomputed")
            if score > best_score:
                best, best_score = labels, score
    return best


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
