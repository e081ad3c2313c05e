"""Consensus clustering: k-means on resampled people; the number of clusters is that of the clearest consensus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from neurostrata.strata.finders.interface import Array, Finder, Finding, Labels, Progress, nothing
from neurostrata.strata.finders.labels import number_by_size
from neurostrata.strata.finders.mixture import (
    component_numbers,
    principal_scores,
    whiten,
    without_heavy_tails,
)
from neurostrata.strata.finders.reference import LEAST_SPREAD, made_once, shares_of_clusters, similar_size

#: Resamples of :meth:`Consensus.quick`.
QUICK_RESAMPLES = 30
#: Added to the proportion of ambiguous clustering before its logarithm is taken, since that of 0 is not finite.
LEAST_AMBIGUITY = 1e-3

Sizes = tuple[int, ...]


class Consensus(Finder):
    """Divide random subsets of the people by k-means and count who is put together repeatedly (Monti 2003).

    For each number of components p of the code and of clusters k, the proportion of ambiguous clustering (PAC) is the
    share of pairs of people who are together in more than a tenth and fewer than nine tenths of the subsets. Some k
    has the smallest PAC in any data. As in M3C (John et al. 2020, Scientific Reports 10:1816), the logarithm of PAC is
    therefore compared with that in Gaussian data of the same size: the p and k are chosen whose PAC is the most standard
    deviations below.

    Notes
    -----
    The leading components are first whitened and their heavy tails pulled in, as in the mixture. On components that are
    not whitened, k-means follows the variance: with weak effects, 300 people and the true number of clusters it reached
    an adjusted Rand index of 0.34, on whitened ones 0.72.
    """

    name = "consensus"
    title = "consensus clustering"
    measure = "largest standardised clarity of the consensus (logarithm of PAC)"
    search_columns: ClassVar[dict[str, str]] = {
        "components": "leading components of the code that were used",
        "n_clusters": "clusters",
        "pac": "proportion of ambiguous clustering: pairs of people together in 10 to 90% of the subsets that have both",
        "reference_mean": f"mean of log(pac + {LEAST_AMBIGUITY:g}) over draws of Gaussian data of the same size",
        "reference_sd": "standard deviation over these draws",
        "standardised": "(reference_mean - log(pac)) / reference_sd; the largest is chosen",
    }

    @classmethod
    def quick_text(cls, options: Mapping[str, Any]) -> str:
        """See :meth:`Finder.quick_text`."""
        return f"with {QUICK_RESAMPLES} resamples" if options["resamples"] > QUICK_RESAMPLES else ""

    def quick(self, codes: Array | None = None) -> Consensus:
        """Return the finder with fewer resamples."""
        return self.changed({"resamples": min(self.options["resamples"], QUICK_RESAMPLES)})

    def find(self, codes: Array, progress: Progress | None = None) -> Finding:
        """Return the partition of the clearest consensus; see :meth:`Finder.find`."""
        from neurostrata.strata.finders.consensus_fit import consensus_matrix

        options, n = self.options, len(codes)
        empty = pd.DataFrame(columns=list(self.search_columns))
        tried = component_numbers(n, codes.shape[1], options["components"])
        clusters = tuple(range(2, options["max_clusters"] + 1))
        if not tried:
            return nothing(
                n, empty, f"{n} people are too few for consensus clustering in any number of components"
            )
        scores = principal_scores(codes, max(tried))
        tried = tuple(p for p in tried if p <= scores.shape[1])
        if not tried:
            return nothing(n, empty, f"the codes vary in {scores.shape[1]} directions only")
        how = (options["resamples"], options["share"], options["starts"])
        pac = ambiguities(scores, tried, clusters, *how, self.seed, progress)
        draws = options["reference_draws"]
        mean, spread = reference(similar_size(n), tried, clusters, *how, draws, self.threads)
        standardised = (mean - np.log(pac + LEAST_AMBIGUITY)) / spread
        rows = [
            (p, k, pac[i, j], mean[i, j], spread[i, j], standardised[i, j])
            for i, p in enumerate(tried)
            for j, k in enumerate(clusters)
        ]
        i, j = divmod(int(standardised.argmax()), len(clusters))
        white = without_heavy_tails(whiten(scores[:, : tried[i]]))
        matrix = consensus_matrix(white, clusters[j], *how, self.seed)
        labels = number_by_size(average_linkage(matrix, clusters[j]))
        search = pd.DataFrame(rows, columns=list(self.search_columns))
        membership = shares_of_clusters(matrix, labels)
        return Finding(labels, float(standardised[i, j]), search, membership, int(tried[i]))


def average_linkage(similarity: Array, number: int) -> Labels:
    """Return the clusters that average linkage makes of similarities from 0 to 1."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    tree = linkage(squareform(1 - similarity, checks=False), "average")
    return np.asarray(fcluster(tree, number, "maxclust"), dtype=np.intp)


def ambiguities(
    scores: Array,
    components: Sizes,
    clusters: Sizes,
    resamples: int,
    share: float,
    starts: int,
    seed: int,
    progress: Progress | None = None,
) -> Array:
    """Return the proportion of ambiguous clustering (components x clusters)."""
    from neurostrata.strata.finders.consensus_fit import ambiguous_pairs

    pac = np.empty((len(components), len(clusters)))
    for i, p in enumerate(components):
        white = without_heavy_tails(whiten(scores[:, :p]))
        for j, k in enumerate(clusters):
            pac[i, j] = ambiguous_pairs(white, k, resamples, share, starts, seed)
            if progress is not None:
                progress(i * len(clusters) + j + 1, pac.size)
    return pac


@made_once
def reference(
    people: int,
    components: Sizes,
    clusters: Sizes,
    resamples: int,
    share: float,
    starts: int,
    draws: int,
    threads: int = 1,
) -> tuple[Array, Array]:
    """Return mean and standard deviation of the logarithm (components x clusters) over draws of Gaussian data.

    The seed of a draw is its number, so that all cohorts of one size share the reference.
    """
    from joblib import Parallel, delayed

    def ambiguities_of_draw(draw: int) -> Array:
        gaussian = np.random.default_rng([people, draw]).standard_normal((people, max(components)))
        return ambiguities(gaussian, components, clusters, resamples, share, starts, draw)

    run = Parallel(n_jobs=threads, backend="threading")
    drawn = np.stack(run(delayed(ambiguities_of_draw)(draw) for draw in range(draws)))
    drawn = np.log(drawn + LEAST_AMBIGUITY)
    return drawn.mean(axis=0), np.maximum(drawn.std(axis=0), LEAST_SPREAD)
