"""Gaussian mixtures with one covariance; components of the code and clusters chosen together by the likelihood's excess."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from neurostrata.core.wording import count, join_words
from neurostrata.strata.finders.interface import Array, Finder, Finding, Progress, SearchFigure, nothing
from neurostrata.strata.finders.labels import number_by_size
from neurostrata.strata.finders.reference import similar_size

#: Numbers of components whose standardised ratios are averaged as the evidence for a number of clusters.
AGREEING = 2
#: Standardised gain of one more cluster above which it is taken.
STEP = 4.0
#: Mixtures whose standardised ratio is at least this share of the largest enter the memberships.
USED_FROM = 0.5
#: Repeated searches have fewer starts from so many people on, in inverse proportion, and never fewer than so many.
MANY_PEOPLE, LEAST_STARTS = 100, 10
#: With more people than this they try every other number of components.
VERY_MANY_PEOPLE = 500
#: Times at most that people far out are pulled in; it ends when nobody is moved by more than a tenth of the distance.
PULLS, NO_PULL = 20, 0.9
#: People per component at least; with fewer a mixture finds groups along some direction of any data.
PEOPLE_PER_COMPONENT = 6
#: People per cluster at least, on average; but two clusters are always tried.
PEOPLE_PER_CLUSTER = 7


class Mixture(Finder):
    """Fit mixtures to the leading principal components of the code, made white and freed of heavy tails.

    For each number of components p and of clusters k the log-likelihood ratio against one Gaussian, 2 (l_k - l_1), is
    standardised by its mean and standard deviation over draws of Gaussian data of the same size (the ratio does not
    depend on the covariance, so these hold for any code). The evidence for k clusters is the mean of the
    :data:`AGREEING` largest standardised ratios over p: groups that show in one number of components alone do not
    count. From the k of most evidence on, one cluster more is taken as long as the evidence against fewer goes on: the
    gain in the ratio over k - 1, standardised by that of the Gaussian draws and averaged likewise, is above
    :data:`STEP`. Memberships are averaged over the numbers of components that speak for it.
    One against every k, over all p, is tested jointly by :mod:`neurostrata.strata.existence.comparison_with_null`.

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
        "standardised": "(likelihood_ratio - reference_mean) / reference_sd",
        "step": "gain of the ratio over one cluster fewer, standardised by that of the Gaussian draws",
        "evidence": f"for this number of clusters: mean of the {AGREEING} largest standardised ratios over components",
        "used": "yes: the memberships of this mixture enter those of the chosen number of clusters",
    }

    search_figure = SearchFigure(
        "lines",
        ("components", "n_clusters", "standardised", "used"),
        "The search: how far the likelihood exceeds that of Gaussian data, for each number of components",
        "Each line is a number of leading components of the code; red rings: the mixtures of the number of clusters that was chosen, whose "
        "memberships are averaged. Whether it is more than chance is what the next figure says.",
    )

    #: Whether it is the form that is repeated.
    repeated = False

    @classmethod
    def methods_text(cls, options: Mapping[str, Any]) -> str:
        """See :meth:`Finder.methods_text`."""
        numbers = join_words([str(number) for number in options["components"]])
        return (
            f"Gaussian mixtures with one covariance for all clusters, fitted to the {numbers} leading whitened components of the code from "
            f"{count(int(options['starts']), 'random start')}, with up to {options['max_clusters']} clusters; their number "
            "chosen by the likelihood ratio's excess over "
            f"{count(int(options['reference_draws']), 'draw')} of Gaussian data, in standard deviations, on which two numbers of components "
            "agree, and memberships averaged over the numbers of components that speak for it"
        )

    def quick(self, codes: Array | None = None) -> Mixture:
        """Return the same with fewer starts where there are many people, whose likelihood has fewer poor optima; with very
        many also with fewer numbers of components, to save time.

        On simulated codes of 300 people a fifth of the starts reached the same likelihoods, with 80 people they did not.
        """
        again = self.changed()
        again.repeated = True
        return again

    def find(self, codes: Array, progress: Progress | None = None) -> Finding:
        """Return the partition into the number of clusters with most evidence; see :meth:`Finder.find`."""
        options = self.options
        n = len(codes)
        empty = pd.DataFrame(columns=list(self.search_columns))
        tried = component_numbers(n, codes.shape[1], options["components"])
        scores = principal_scores(codes, max(tried, default=0))
        tried = tuple(p for p in tried if p <= scores.shape[1])
        if not tried:
            return nothing(
                n, empty, f"{n} people are too few, or their codes too alike, for any number of components"
            )
        most = min(options["max_clusters"], max(2, n // PEOPLE_PER_CLUSTER))
        clusters = tuple(range(2, most + 1))
        starts, size = options["starts"], n
        if self.repeated:
            if n > VERY_MANY_PEOPLE and len(tried) > AGREEING:
                tried = tried[::2]
            # samples of people differ a little in size, and share a reference
            starts, size = min(starts, max(LEAST_STARTS, round(starts * MANY_PEOPLE / n))), similar_size(n)
        ratios, shares = likelihood_ratios(scores, tried, clusters, starts, self.seed)
        expected = reference(size, tried, clusters, starts, options["reference_draws"], self.threads)
        standardised = (ratios - expected.mean) / expected.spread
        with np.errstate(invalid="ignore"):  # both collapsed: no gain
            steps = (np.diff(ratios, axis=1, prepend=0.0) - expected.step_mean) / expected.step_spread
        # a mixture that collapsed on a few people speaks for nothing
        standardised[~np.isfinite(standardised)] = -np.inf
        evidence = np.sort(standardised, axis=0)[-AGREEING:].mean(axis=0)
        steps[~np.isfinite(steps)] = -np.inf
        onwards = np.sort(steps, axis=0)[-AGREEING:].mean(axis=0)
        most_evident = chosen = int(evidence.argmax())
        while chosen + 1 < len(clusters) and onwards[chosen + 1] > STEP:
            chosen += 1
        own = standardised[:, chosen]
        used = own >= USED_FROM * own.max() if own.max() > 0 else own == own.max()
        rows = [
            (
                p,
                k,
                ratios[i, j],
                expected.mean[i, j],
                expected.spread[i, j],
                standardised[i, j],
                steps[i, j],
                evidence[j],
                j == chosen and used[i],
            )
            for i, p in enumerate(tried)
            for j, k in enumerate(clusters)
        ]
        search = pd.DataFrame(rows, columns=list(self.search_columns)).replace([-np.inf, np.inf], np.nan)
        search["used"] = np.where(search["used"], "yes", "no")
        if not np.isfinite(evidence[chosen]):
            return nothing(n, search, "every mixture collapsed on a few people")
        membership = averaged({int(i): shares[int(i), chosen] for i in np.flatnonzero(used)}, own)
        labels = number_by_size(membership.argmax(axis=1))
        number = int(labels.max())
        # columns in the order of the clusters' numbers; one that is nobody's most probable has no number
        place = [int(membership[labels == cluster].argmax(axis=1)[0]) for cluster in range(1, number + 1)]
        membership = membership[:, place] / membership[:, place].sum(axis=1, keepdims=True)
        return Finding(
            labels,
            float(evidence[most_evident]) if number > 1 else -np.inf,
            search,
            membership,
            int(np.array(tried)[used].max()),
            reason=None if number > 1 else "the clusters of the best mixture are nobody's most probable ones",
        )


def averaged(shares: dict[int, Array], weights: Array) -> Array:
    """Return the weighted mean of several mixtures' memberships (people x clusters), their clusters matched.

    Parameters
    ----------
    shares
        Position -> memberships.
    weights
        By position; the mixture of the largest is what the others are matched to.
    """
    from scipy.optimize import linear_sum_assignment

    first = max(shares, key=lambda i: weights[i])
    total = np.zeros_like(shares[first])
    for i, share in shares.items():
        _, columns = linear_sum_assignment(-(shares[first].T @ share))
        total += max(weights[i], 1e-6) * share[:, columns]
    return total / total.sum(axis=1, keepdims=True)


def component_numbers(people: int, dimensions: int, wanted: list[int]) -> tuple[int, ...]:
    """Return those of the numbers of components that so many people and dimensions allow.

    Where fewer than :data:`AGREEING` of them are allowed, the largest numbers that are, so that small cohorts are
    searched as well.
    """
    most = min(people // PEOPLE_PER_COMPONENT, dimensions)
    allowed = {p for p in wanted if p <= most}
    if len(allowed) < min(AGREEING, len(wanted)):
        allowed |= set(range(max(1, most - AGREEING + 1), most + 1))
    return tuple(sorted(allowed))


def principal_scores(codes: Array, most: int) -> Array:
    """Return the leading principal component scores (people x at most `most`), those without variance left out."""
    centred = codes - codes.mean(axis=0)
    left, scale, _ = np.linalg.svd(centred, full_matrices=False)
    kept = min(most, int((scale > 1e-9 * scale[0]).sum()) if len(scale) and scale[0] > 0 else 0)
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
    """Bring people who lie farther out than Gaussian data would back to where these end, and make white again.

    The person of the r-th largest distance from the centre is moved towards it to the r-th largest expected distance, if
    that is smaller (one-sided radial Gaussianisation, after Lyu and Simoncelli 2009). Directions stay, and so does the
    order: a few people far out must not make a cluster. Groups make distances more alike and are left as they are. It is
    repeated, because somebody very far out has made the axis along which the others lie together.
    """
    expected = _chi_quantiles(*white.shape)
    for _ in range(PULLS):
        radius = np.linalg.norm(white, axis=1)
        wanted = np.empty(len(white))
        wanted[np.argsort(radius, kind="stable")] = expected
        pull = np.minimum(wanted, radius) / np.maximum(radius, 1e-12)
        white = whiten(white * pull[:, None])
        if pull.min() > NO_PULL:
            break
    return white


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


@dataclass(frozen=True)
class Reference:
    """Likelihood ratios of Gaussian data, and their gains over one cluster fewer; arrays components x clusters."""

    mean: Array
    spread: Array
    step_mean: Array
    step_spread: Array


@lru_cache(maxsize=64)
def reference(
    people: int,
    components: tuple[int, ...],
    clusters: tuple[int, ...],
    starts: int,
    draws: int,
    threads: int = 1,
) -> Reference:
    """Return mean and standard deviation of the ratios over draws of Gaussian data, and of their gains.

    A draw's seed is its number alone: the reference is the same for every cohort of the same size.
    """
    from joblib import Parallel, delayed

    def one(draw: int) -> Array:
        gaussian = np.random.default_rng([people, draw]).standard_normal((people, max(components)))
        return likelihood_ratios(gaussian, components, clusters, starts, draw)[0]

    drawn = np.stack(
        Parallel(n_jobs=threads, backend="threading")(delayed(one)(draw) for draw in range(draws))
    )
    drawn[~np.isfinite(drawn)] = np.nan
    steps = np.diff(drawn, axis=2, prepend=0.0)
    return Reference(
        np.nanmean(drawn, axis=0),
        np.nanstd(drawn, axis=0),
        np.nanmean(steps, axis=0),
        np.nanstd(steps, axis=0),
    )
