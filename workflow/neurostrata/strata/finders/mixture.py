"""Gaussian mixtures with one covariance; components of the code and clusters chosen together by the likelihood's excess."""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar

import numpy as np
import pandas as pd

from neurostrata.strata.finders.interface import Array, Finder, Finding, Progress, nothing
from neurostrata.strata.finders.labels import number_by_size

#: People per component at least; with fewer a mixture finds groups along some direction of any data.
PEOPLE_PER_COMPONENT = 6


class Mixture(Finder):
    """Fit mixtures to the leading principal components of the code, made white and freed of heavy tails.

    For each number of components p and of clusters k the log-likelihood ratio against one Gaussian, 2 (l_k - l_1), is
    standardised by its mean and standard deviation over draws of Gaussian data of the same size (the ratio does not
    depend on the covariance, so these hold for any code). The largest standardised ratio decides on p and k.
    One against every k, over all p, is tested jointly by :mod:`neurostrata.strata.existence`.

    Notes
    -----
    With one covariance for all clusters the ratio asks for a direction in which people fall into groups, whatever the
    variance along it, which Euclidean distances and k-means do not. k-means starts alone let the likelihood end in
    poor optima on such data (scikit-learn issue 34845), hence many starts.
    """

    name = "mixture"
    title = "Gaussian mixture"
    measure = "largest standardised likelihood ratio"
    search_columns: ClassVar[dict[str, str]] = {
        "components": "leading components of the code that were used",
        "n_clusters": "clusters",
        "likelihood_ratio": "2 (log likelihood - log likelihood of one Gaussian)",
        "reference_mean": "mean of that ratio over draws of Gaussian data of the same size",
        "reference_sd": "standard deviation over these draws",
        "standardised": "(likelihood_ratio - reference_mean) / reference_sd; the largest is chosen",
    }

    def find(self, codes: Array, progress: Progress | None = None) -> Finding:
        """Return the partition of the largest standardised likelihood ratio; see :meth:`Finder.find`."""
        options = self.options
        n = len(codes)
        tried = component_numbers(n, codes.shape[1], options["components"])
        empty = pd.DataFrame(columns=list(self.search_columns))
        if not tried:
            return nothing(n, empty, f"{n} people are too few for a mixture in any number of components")
        scores = principal_scores(codes, max(tried))
        tried = tuple(p for p in tried if p <= scores.shape[1])
        if not tried:
            return nothing(n, empty, f"the codes vary in {scores.shape[1]} directions only")
        clusters = tuple(range(2, options["max_clusters"] + 1))
        ratios, shares = likelihood_ratios(scores, tried, clusters, options["starts"], self.seed)
        mean, spread = reference(n, tried, clusters, options["starts"], options["reference_draws"])
        standardised = (ratios - mean) / spread
        rows = [
            (p, k, ratios[i, j], mean[i, j], spread[i, j], standardised[i, j])
            for i, p in enumerate(tried)
            for j, k in enumerate(clusters)
        ]
        search = pd.DataFrame(rows, columns=list(self.search_columns)).replace(-np.inf, np.nan)
        if not np.isfinite(standardised).any():
            return nothing(n, search, "every mixture collapsed on a few people")
        i, j = divmod(int(np.nanargmax(standardised)), len(clusters))
        share = shares[i, j]
        labels = number_by_size(share.argmax(axis=1))
        # the order of the clusters' columns is that of their numbers; a cluster that nobody is most likely in has no number
        order = [
            int(np.bincount(share[labels == number].argmax(axis=1)).argmax())
            for number in range(1, labels.max() + 1)
        ]
        membership = share[:, order] / share[:, order].sum(axis=1, keepdims=True)
        return Finding(labels, float(standardised[i, j]), search, membership, int(tried[i]))


def component_numbers(people: int, dimensions: int, wanted: list[int]) -> tuple[int, ...]:
    """Return those of the numbers of components that so many people and dimensions allow."""
    most = min(people // PEOPLE_PER_COMPONENT, dimensions)
    return tuple(sorted(p for p in wanted if p <= most))


def principal_scores(codes: Array, most: int) -> Array:
    """Return the leading principal component scores (people x at most `most`), those without variance left out."""
    centred = codes - codes.mean(axis=0)
    left, scale, _ = np.linalg.svd(centred, full_matrices=False)
    kept = min(most, int((scale > 1e-9 * scale[0]).sum()) if scale[0] > 0 else 0)
    signs = np.sign(left[np.abs(left).argmax(axis=0), np.arange(left.shape[1])])
    return (left * scale * signs)[:, :kept]


@lru_cache(maxsize=256)
def _chi_quantiles(people: int, components: int) -> Array:
    from scipy.stats import chi

    return chi(components).ppf((np.arange(people) + 0.5) / people)


def whiten(values: Array) -> Array:
    """Return values (people x components) of mean 0 and covariance I, turned as little as possible."""
    values = values - values.mean(axis=0)
    variances, axes = np.linalg.eigh(values.T @ values / len(values))
    return np.ascontiguousarray(values @ (axes / np.sqrt(variances)) @ axes.T)


def without_heavy_tails(white: Array) -> Array:
    """Give people's distances from the centre the distribution that Gaussian data have, and make white again.

    Each person stays in the same direction from the centre, and the order of distances stays (radial
    Gaussianisation, Lyu and Simoncelli 2009): a few people far out must not make a cluster.
    """
    radius = np.linalg.norm(white, axis=1)
    wanted = np.empty(len(white))
    wanted[np.argsort(radius, kind="stable")] = _chi_quantiles(*white.shape)
    return whiten(white * (wanted / np.maximum(radius, 1e-12))[:, None])


def likelihood_ratios(
    scores: Array, components: tuple[int, ...], clusters: tuple[int, ...], starts: int, seed: int
) -> tuple[Array, dict[tuple[int, int], Array]]:
    """Return the ratio (components x clusters) and the memberships by position of every mixture."""
    from neurostrata.strata.finders.mixture_fit import fit_mixture

    ratios = np.full((len(components), len(clusters)), -np.inf)
    shares = {}
    for i, p in enumerate(components):
        white = without_heavy_tails(whiten(scores[:, :p]))
        for j, k in enumerate(clusters):
            gain, shares[i, j] = fit_mixture(white, k, starts, seed)
            ratios[i, j] = 2 * gain
    return ratios, shares


@lru_cache(maxsize=64)
def reference(
    people: int, components: tuple[int, ...], clusters: tuple[int, ...], starts: int, draws: int
) -> tuple[Array, Array]:
    """Return mean and standard deviation of the ratios (components x clusters) over draws of Gaussian data.

    A draw's seed is its number alone: the reference is the same for every cohort of the same size.
    """
    drawn = np.stack(
        [
            likelihood_ratios(
                np.random.default_rng([people, draw]).standard_normal((people, max(components))),
                components,
                clusters,
                starts,
                draw,
            )[0]
            for draw in range(draws)
        ]
    )
    drawn[~np.isfinite(drawn)] = np.nan
    return np.nanmean(drawn, axis=0), np.nanstd(drawn, axis=0)
