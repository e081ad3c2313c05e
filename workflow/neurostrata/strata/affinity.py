"""Affinity propagation over a grid of damping and preference (Dimitri et al. 2.4.1).

Every setting is run by scikit-learn's `affinity_propagation` with the same random state, so that the
labels of each are scikit-learn's own, whatever the number of processes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Labels = NDArray[np.intp]


@dataclass(frozen=True)
class Setting:
    """One point of the grid and what affinity propagation made of it.

    Attributes
    ----------
    labels
        One per person; -1 for everybody when there is no exemplar.
    exemplars
        Row of the exemplar of each label.
    """

    damping: float
    preference: float
    converged: bool
    n_iter: int
    labels: Labels
    exemplars: Labels

    @property
    def n_clusters(self) -> int:
        """Number of clusters; 0 when there is no exemplar."""
        return len(self.exemplars)


def squared_distances(embeddings: Array) -> Array:
    """Return squared Euclidean distances (people x people), float64, one BLAS thread.

    One thread, because the last digit of a matrix product depends on how it was shared out.
    """
    from sklearn.metrics import euclidean_distances
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        return euclidean_distances(np.asarray(embeddings, dtype=np.float64), squared=True)


def damping_grid(minimum: float, maximum: float, steps: int) -> Array:
    """Return `steps` damping factors from `minimum` at equal intervals, `maximum` left out."""
    return np.linspace(minimum, maximum, steps, endpoint=False)


def preference_grid(similarities: Array, low: float, high: float, steps: int) -> Array:
    """Return `steps` preferences between two percentiles of the off-diagonal similarities."""
    off_diagonal = similarities[~np.eye(len(similarities), dtype=bool)]
    bottom, top = np.percentile(off_diagonal, [low, high])
    return np.linspace(bottom, top, steps)


def run_setting(
    similarities: Array, damping: float, preference: float, max_iter: int, convergence_iter: int, seed: int
) -> Setting:
    """Run one setting; its labels are scikit-learn's.

    scikit-learn returns labels even when it did not converge and says so in a warning only: the
    warning is caught and becomes `converged`.
    """
    from sklearn.cluster import affinity_propagation
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        centers, labels, n_iter = affinity_propagation(
            similarities,
            damping=float(damping),
            preference=float(preference),
            max_iter=max_iter,
            convergence_iter=convergence_iter,
            random_state=seed,
            return_n_iter=True,
        )
    converged = not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)
    return Setting(
        float(damping),
        float(preference),
        converged,
        int(n_iter),
        np.asarray(labels, dtype=np.intp),
        np.asarray(centers, dtype=np.intp),
    )


def _run_chunk(
    similarities: Array, pairs: Sequence[tuple[float, float]], options: Mapping[str, Any]
) -> list[Setting]:
    return [run_setting(similarities, damping, preference, **options) for damping, preference in pairs]


def run_grid(
    similarities: Array,
    dampings: Array,
    preferences: Array,
    max_iter: int,
    convergence_iter: int,
    seed: int,
    threads: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Setting]:
    """Run every pair of damping and preference, in order, `threads` processes at a time.

    Processes, not threads: Python's record of warnings is one per process.

    Parameters
    ----------
    similarities
        People x people; negative squared distances.
    progress
        Called with the number of settings done and of all.

    Yields
    ------
    Setting
        By damping, then preference.
    """
    from joblib import Parallel, delayed

    pairs = [(float(damping), float(preference)) for damping in dampings for preference in preferences]
    size = max(1, min(25, len(pairs) // (4 * threads) or 1))
    chunks = [pairs[start : start + size] for start in range(0, len(pairs), size)]
    options = {"max_iter": max_iter, "convergence_iter": convergence_iter, "seed": seed}
    run = Parallel(n_jobs=threads, return_as="generator", max_nbytes="100K")
    done = 0
    for settings in run(delayed(_run_chunk)(similarities, chunk, options) for chunk in chunks):
        yield from settings
        done += len(settings)
        if progress is not None:
            progress(done, len(pairs))
