"""Affinity propagation over a grid of damping and preference (Dimitri et al. 2.4.1).

Labels, exemplars and convergence of every setting are those of scikit-learn's `affinity_propagation` with the same
random state, to the last bit in float64, whatever the number of threads. The messages are passed by
:mod:`neurostrata.strata.finders.propagation`; what all settings share (the noise that breaks ties) is made once.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Labels = NDArray[np.intp]


@dataclass(frozen=True)
class Setting:
    """One point of the grid, and the result of affinity propagation there.

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

    One thread, because the last digit of a matrix product depends on how it was divided among threads.
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


def _all_equal(similarities: Array) -> bool:
    """Tell whether all similarities of different people are the same."""
    equal = similarities == similarities[0, 1]
    np.fill_diagonal(equal, True)
    return bool(equal.all())


def _noise(values: Array, drawn: Array) -> Array:
    """Return scikit-learn's noise, which breaks ties; the same shape as both."""
    limits = np.finfo(np.float64)
    noise = limits.eps * values
    noise += limits.tiny * 100
    noise *= drawn
    return noise


class Propagation:
    """Affinity propagation on one similarity matrix with any damping and preference.

    Parameters
    ----------
    similarities
        People x people; the diagonal is not used.
    max_iter, convergence_iter
        Iterations at most; iterations without a change of exemplars that count as convergence.
    seed
        Of the noise that breaks ties.
    """

    def __init__(
        self,
        similarities: Array,
        max_iter: int,
        convergence_iter: int,
        seed: int,
    ) -> None:
        n = len(similarities)
        self.max_iter, self.convergence_iter, self.seed = max_iter, convergence_iter, seed
        self.plain = np.asarray(similarities, dtype=np.float64)
        # scikit-learn treats this case without passing messages.
        self.all_equal = n < 2 or _all_equal(self.plain)
        # The noise of scikit-learn, whose generator draws one number per pair, the diagonal included.
        drawn = np.random.RandomState(seed).standard_normal((n, n))
        self._own = np.diag(drawn).copy()
        self.similarities = _noise(self.plain, drawn)
        self.similarities += self.plain
        del drawn
        self._order = np.empty((n, max(n - 1, 0)), np.int32)
        self._ordered = np.empty(self._order.shape)
        for i, row in enumerate(self.similarities):
            order = np.argsort(-row)
            self._order[i] = order = order[order != i]
            self._ordered[i] = row[order]

    def scratch(self) -> tuple[NDArray[Any], ...]:
        """Return the arrays for :meth:`run` to work in; every thread needs its own."""
        shape = self.plain.shape
        messages = (np.empty(shape) for _ in range(3))
        return np.empty(shape, np.int32), *messages, np.empty((shape[0], self.max_iter))

    def run(
        self, damping: float, preference: float, scratch: tuple[NDArray[Any], ...] | None = None
    ) -> Setting:
        """Run one setting."""
        if self.all_equal:
            return self._of_scikit_learn(damping, preference)
        from neurostrata.strata.finders.propagation import pass_messages

        own = np.full(len(self.plain), preference)
        own += _noise(own, self._own)
        exemplar, iterations, converged = pass_messages(
            self.similarities,
            self._order,
            self._ordered,
            own,
            damping,
            self.max_iter,
            self.convergence_iter,
            *(scratch or self.scratch()),
        )
        labels, exemplars = self._assign(np.flatnonzero(exemplar), own)
        return Setting(float(damping), float(preference), bool(converged), int(iterations), labels, exemplars)

    def _assign(self, exemplars: Labels, own: Array) -> tuple[Labels, Labels]:
        """Assign people to the most similar exemplar, refine the exemplars, and assign again, as scikit-learn does."""
        from neurostrata.strata.finders.propagation import assign

        if len(exemplars) == 0:
            return np.full(len(self.plain), -1, dtype=np.intp), np.empty(0, dtype=np.intp)
        of_person = assign(self.similarities, own, exemplars)
        found = np.unique(of_person)
        return np.searchsorted(found, of_person).astype(np.intp), found.astype(np.intp)

    def _of_scikit_learn(self, damping: float, preference: float) -> Setting:
        """Run scikit-learn itself, which treats equal similarities as a special case."""
        from sklearn.cluster import affinity_propagation
        from sklearn.exceptions import ConvergenceWarning

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            centers, labels, iterations = affinity_propagation(
                self.plain,
                damping=float(damping),
                preference=float(preference),
                max_iter=self.max_iter,
                convergence_iter=self.convergence_iter,
                random_state=self.seed,
                return_n_iter=True,
            )
        converged = not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)
        return Setting(
            float(damping),
            float(preference),
            converged,
            int(iterations),
            np.asarray(labels, dtype=np.intp),
            np.asarray(centers, dtype=np.intp),
        )


def _run_chunk(propagation: Propagation, pairs: Sequence[tuple[float, float]]) -> list[Setting]:
    scratch = propagation.scratch()
    return [propagation.run(damping, preference, scratch) for damping, preference in pairs]


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
    """Run every pair of damping and preference, in order, `threads` at a time.

    Parameters
    ----------
    similarities
        People x people; negative squared distances.
    progress
        Called with the number of settings done and the number of all.

    Yields
    ------
    Setting
        By damping, then preference.
    """
    from joblib import Parallel, delayed

    pairs = [(float(damping), float(preference)) for damping in dampings for preference in preferences]
    size = max(1, min(25, len(pairs) // (4 * threads) or 1))
    chunks = [pairs[start : start + size] for start in range(0, len(pairs), size)]
    propagation = Propagation(similarities, max_iter, convergence_iter, seed)
    # Threads: the compiled code releases Python's lock, and all threads read one similarity matrix.
    run = Parallel(n_jobs=threads, return_as="generator", backend="threading")
    done = 0
    for settings in run(delayed(_run_chunk)(propagation, chunk) for chunk in chunks):
        yield from settings
        done += len(settings)
        if progress is not None:
            progress(done, len(pairs))
