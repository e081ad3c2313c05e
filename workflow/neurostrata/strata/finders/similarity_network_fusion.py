"""Similarity network fusion: one network of similar people from all modalities, divided by spectral clustering."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pandas as pd

from neurostrata.strata.finders.interface import Array, Finder, Finding, Progress, nothing
from neurostrata.strata.finders.labels import number_by_size
from neurostrata.strata.finders.mixture import (
    component_numbers,
    principal_scores,
    whiten,
    without_heavy_tails,
)
from neurostrata.strata.finders.network_fusion import affinity, fuse, leading_eigenvalues
from neurostrata.strata.finders.reference import made_once, shares_of_clusters, similar_size

#: Standard deviations over the draws are taken to be at least this.
LEAST_SPREAD = 1e-6

Sizes = tuple[int, ...]


class SimilarityNetworkFusion(Finder):
    """Link people by the codes of each modality, fuse the networks, and divide the people by spectral clustering.

    The modality of each number of the code is :attr:`Finder.parts`; without it the code has one part, and this is
    spectral clustering of one network. For each number of components p of every part and of clusters k, the sum of the
    fused network's k leading eigenvalues (how much of all links k clusters can have inside) is compared with that in
    Gaussian data of the same size and the same covariance within and between the parts. The p where it is the most
    standard deviations above is taken, and of its k the one whose eigengap is the most standard deviations above
    (the sum stays high for every k beyond the right one).

    Notes
    -----
    Each part's leading components are whitened and their heavy tails pulled in, as in the mixture. The reference needs the
    covariance between the parts, because what modalities share without any groups is fused as well: compared with
    independent parts, every cohort seemed to have groups.
    """

    name = "similarity_network_fusion"
    title = "similarity network fusion"
    measure = "largest standardised sum of the fused network's leading eigenvalues"
    search_columns: ClassVar[dict[str, str]] = {
        "components": "leading components of each modality's code that were used",
        "n_clusters": "clusters",
        "eigenvalues": "sum of so many leading eigenvalues of the fused network, the first (1) left out",
        "reference_mean": "mean of that sum over draws of Gaussian data of the same size and covariance",
        "reference_sd": "standard deviation over these draws",
        "standardised": "(eigenvalues - reference_mean) / reference_sd; the largest decides on the components",
        "gap": "last of these eigenvalues less the next",
        "gap_standardised": "standardised by the same draws; the largest of the components decides on the clusters",
    }
    #: Codes whose covariance the reference has; None: the codes that are clustered.
    like: Array | None = None

    def quick(self, codes: Array | None = None) -> SimilarityNetworkFusion:
        """Return the finder with one reference for all data like these codes."""
        other = self.changed()
        other.like = codes
        return other

    def find(self, codes: Array, progress: Progress | None = None) -> Finding:
        """Return the partition with the largest standardised sum of eigenvalues; see :meth:`Finder.find`."""
        from sklearn.cluster import SpectralClustering

        options, n = self.options, len(codes)
        empty = pd.DataFrame(columns=list(self.search_columns))
        split = split_code(codes, self.parts)
        tried = component_numbers(n, codes.shape[1], options["components"])
        if not tried:
            return nothing(n, empty, f"{n} people are too few for networks in any number of components")
        scores = white_scores(split, max(tried))
        other = scores if self.like is None else white_scores(split_code(self.like, self.parts), max(tried))
        fewest = min((part.shape[1] for part in [*scores, *other]), default=0)
        tried = tuple(p for p in tried if p <= fewest)
        if not tried or len(other) != len(scores):
            return nothing(n, empty, f"the codes vary in {fewest} directions only")
        clusters = tuple(range(2, options["max_clusters"] + 1))
        how = (options["neighbours"], options["mu"], options["iterations"])
        measures = sums_and_gaps(scores, tried, clusters, *how, progress)
        mean, spread = reference(
            similar_size(n),
            covariance(other, max(tried)),
            len(scores),
            tried,
            clusters,
            *how,
            options["reference_draws"],
        )
        (sums, gaps), (standardised, clear) = measures, (measures - mean) / spread
        rows = [
            (p, k, sums[i, j], mean[0, i, j], spread[0, i, j], standardised[i, j], gaps[i, j], clear[i, j])
            for i, p in enumerate(tried)
            for j, k in enumerate(clusters)
        ]
        i = int(standardised.max(axis=1).argmax())
        j = int(clear[i].argmax())
        network = fused_network(scores, tried[i], *how)
        clustering = SpectralClustering(clusters[j], affinity="precomputed", random_state=self.seed)
        labels = number_by_size(clustering.fit_predict(network).astype(np.intp))
        facts = {"modalities": len(scores), "components_per_modality": int(tried[i])}
        return Finding(
            labels,
            float(standardised.max()),
            pd.DataFrame(rows, columns=list(self.search_columns)),
            shares_of_clusters(network, labels),
            int(tried[i]) if len(scores) == 1 else None,
            facts=facts,
        )


def split_code(codes: Array, parts: Sequence[str] | None) -> list[Array]:
    """Return the part of each modality (people x numbers), or the whole code where it has no parts."""
    if parts is None:
        return [codes]
    owner = np.array(parts, dtype=object)
    return [codes[:, owner == name] for name in dict.fromkeys(parts)]


def white_scores(split: Sequence[Array], most: int) -> list[Array]:
    """Return at most so many leading components of each part, at unit variance, without parts that do not vary."""
    scores = [principal_scores(part, most) for part in split]
    return [part / part.std(axis=0) for part in scores if part.shape[1]]


def covariance(scores: Sequence[Array], most: int) -> tuple[tuple[float, ...], ...]:
    """Return the covariance of the first `most` columns of all parts side by side, as tuples, which can be cached."""
    joint = np.column_stack([part[:, :most] for part in scores])
    return tuple(map(tuple, np.round(joint.T @ joint / len(joint), 6).tolist()))


def fused_network(
    scores: Sequence[Array], components: int, neighbours: int, mu: float, iterations: int
) -> Array:
    """Return the network (people x people) fused from the leading components of all parts."""
    white = [without_heavy_tails(whiten(part[:, :components])) for part in scores]
    return fuse([affinity(part, neighbours, mu) for part in white], neighbours, iterations)


def sums_and_gaps(
    scores: Sequence[Array],
    components: Sizes,
    clusters: Sizes,
    neighbours: int,
    mu: float,
    iterations: int,
    progress: Progress | None = None,
) -> Array:
    """Return the sum of the 2nd to k-th eigenvalue, and the k-th less the next (2 x components x clusters)."""
    measures = np.empty((2, len(components), len(clusters)))
    last = np.array(clusters) - 1
    for i, p in enumerate(components):
        values = leading_eigenvalues(fused_network(scores, p, neighbours, mu, iterations), max(clusters) + 1)
        values = np.pad(values, (0, max(clusters) + 1 - len(values)))
        measures[:, i] = np.cumsum(values)[last] - values[0], values[last] - values[last + 1]
        if progress is not None:
            progress(i + 1, len(components))
    return measures


@made_once
def reference(
    people: int,
    joint: tuple[tuple[float, ...], ...],
    parts: int,
    components: Sizes,
    clusters: Sizes,
    neighbours: int,
    mu: float,
    iterations: int,
    draws: int,
) -> tuple[Array, Array]:
    """Return mean and standard deviation of both measures (2 x components x clusters) over draws of Gaussian data.

    `joint` is the covariance of all parts' components side by side.
    """
    variances, axes = np.linalg.eigh(np.array(joint))
    root = axes * np.sqrt(np.maximum(variances, 0.0)) @ axes.T
    drawn = []
    for draw in range(draws):
        values = np.random.default_rng([people, draw]).standard_normal((people, len(root))) @ root
        drawn.append(
            sums_and_gaps(np.split(values, parts, axis=1), components, clusters, neighbours, mu, iterations)
        )
    return np.mean(drawn, axis=0), np.maximum(np.std(drawn, axis=0), LEAST_SPREAD)
