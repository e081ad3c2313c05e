"""Gaussian mixtures with one covariance; the numbers of components and clusters are chosen by standardised likelihood ratios."""

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
from neurostrata.strata.finders.reference import made_once, similar_size

#: The evidence for a number of clusters is the mean of so many standardised ratios, the largest over the numbers of components.
AGREEING = 2
#: Standardised gain above which one more cluster is accepted.
STEP = 4.0
#: Mixtures whose standardised ratio is at least this share of the largest contribute to the memberships.
USED_FROM = 0.5
#: Repeated searches of more people than the first have proportionally fewer starts, but never fewer than the second.
MANY_PEOPLE, LEAST_STARTS = 100, 10
#: With more people than this, repeated searches try only every second number of components.
VERY_MANY_PEOPLE = 500
#: Outlying people are pulled in at most so many times; it ends when nobody's distance shrinks by more than a tenth.
PULLS, NO_PULL = 20, 0.9
#: Least number of people per component; with fewer, a mixture finds groups along some direction of any data.
PEOPLE_PER_COMPONENT = 6
#: Least mean number of people per cluster; two clusters are always tried.
PEOPLE_PER_CLUSTER = 7


class Mixture(Finder):
    """Fit mixtures to the leading principal components of the code, whitened and with heavy tails pulled in.

    For each number of components p and of clusters k the log-likelihood ratio against one Gaussian, 2 (l_k - l_1), is
    standardised by its mean and standard deviation over draws of Gaussian data of the same size (the ratio does not
    depend on the covariance, so these hold for any code). The evidence for k clusters is the mean of the
    :data:`AGREEING` largest standardised ratios over p: groups that show in a single number of components do not
    count. Starting from the k of most evidence, one cluster more is accepted as long as the gain in the ratio over k - 1,
    standardised by that of the Gaussian draws and averaged in the same way, is above :data:`STEP`. Memberships are
    averaged over the numbers of components with evidence for the k that was chosen.
    One cluster against every k, over all p, is tested jointly by :mod:`neurostrata.strata.existence.comparison_with_null`.

    Notes
    -----
    With one covariance for all clusters, the ratio finds a direction in which people fall into groups whatever the variance
    along it; Euclidean distances and k-means do not. From k-means starts alone the likelihood ends in poor optima on such
    data (scikit-learn issue 34845), hence the many starts.
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

    #: Whether this is the form of :meth:`quick`.
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

    @classmethod
    def quick_text(cls, options: Mapping[str, Any]) -> str:
        """See :meth:`Finder.quick_text`."""
        return (
            f"with fewer starts for more than {MANY_PEOPLE} people and every second number of components for more than "
            f"{VERY_MANY_PEOPLE}"
        )

    def quick(self, codes: Array | None = None) -> Mixture:
        """Return the finder with fewer starts for many people, and fewer numbers of components for very many.

        The likelihood of many people has fewer poor optima: on simulated codes of 300 people a fifth of the starts reached the
        same likelihoods; of 80 people they did not.
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
        # a mixture that collapsed on a few people is no evidence
        standardised[~np.isfinite(standardised)] = -np.inf
        evidence = np.sort(standardised, axis=0)[-AGREEING:].mean(axis=0)
        steps[~np.isfinite(steps)] = -np.inf
        onwards = np.sort(steps, axis=0)[-AGREEING:].mean(axis=0)
        most_evident = chosen = int(evidence.argmax())
        while chosen + 1 < len(clusters) and onwards[chosen + 1] > STEP:
            chosen += 1
        chosen_ratios = standardised[:, chosen]
        used = (
            chosen_ratios >= USED_FROM * chosen_ratios.max()
            if chosen_ratios.max() > 0
            else chosen_ratios == chosen_ratios.max()
        )
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
        membership = averaged({int(i): shares[int(i), chosen] for i in np.flatnonzero(used)}, chosen_ratios)
        labels = number_by_size(membership.argmax(axis=1))
        number = int(labels.max())
        # columns in the order of the clusters' numbers; a cluster that is nobody's most probable one has no number
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
    """Return the numbers of components that are possible with so many people and dimensions.

    Where fewer than :data:`AGREEING` of the wanted numbers are, the largest possible ones are added, so that small cohorts
    are searched as well.
    """
    most = min(people // PEOPLE_PER_COMPONENT, dimensions)
    allowed = {p for p in wanted if p <= most}
    if len(allowed) < min(AGREEING, len(wanted)):
        allowed |= set(range(max(1, most - AGREEING + 1), most + 1))
    return tuple(sorted(allowed))


def principal_scores(codes: Array, most: int) -> Array:
    """Return the leading principal component scores (people x at most `most`), without those that do not vary."""
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
    """Return values (people x components) with mean 0 and covariance I, rotated as little as possible."""
    values = values - values.mean(axis=0)
    variances, axes = np.linalg.eigh(values.T @ values / len(values))
    return np.ascontiguousarray(values @ (axes / np.sqrt(variances)) @ axes.T)


def without_heavy_tails(white: Array) -> Array:
    """Pull in people who lie farther from the centre than they would in Gaussian data, and whiten again.

    The person with the r-th largest distance from the centre is moved to the r-th largest expected distance, if that is
    smaller (one-sided radial Gaussianisation, after Lyu and Simoncelli 2009); directions and order are kept. A few
    outlying people must not form a cluster; groups, which make distances more alike, are hardly changed. It is repeated,
    because a distant outlier inflates the variance of the axis on which it lies.
    """
    expected = _chi_quantiles(*white.shape)
    for _ in range(PULLS):
        radius = np.linalg.norm(white, axis=1)
        target = np.empty(len(white))
        target[np.argsort(radius, kind="stable")] = expected
        pull = np.minimum(target, radius) / np.maximum(radius, 1e-12)
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


@made_once
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

    def ratios_of_draw(draw: int) -> Array:
        gaussian = np.random.default_rng([people, draw]).standard_normal((people, max(components)))
        return likelihood_ratios(gaussian, components, clusters, starts, draw)[0]

    drawn = np.stack(
        Parallel(n_jobs=threads, backend="threading")(delayed(ratios_of_draw)(draw) for draw in range(draws))
    )
    drawn[~np.isfinite(drawn)] = np.nan
    steps = np.diff(drawn, axis=2, prepend=0.0)
    return Reference(
        np.nanmean(drawn, axis=0),
        np.nanstd(drawn, axis=0),
        np.nanmean(steps, axis=0),
        np.nanstd(steps, axis=0),
    )
