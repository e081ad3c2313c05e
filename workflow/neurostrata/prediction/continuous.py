"""The alternative without clusters: how well codes predict phenotype factors of people not learned from.

Ridge regression and canonical correlation, cross-validated with families kept together. Factors are freed of the
covariates, whose effects are learned in each fold's training people too (Snoek et al. 2019, NeuroImage 184:741): otherwise
what both codes and factors have of age counts as predicted. What is permuted is what covariates leave of the factors
(Freedman and Lane 1983). The costly part of a fold, the singular value decomposition of its features, does not depend on
the factors, so it is computed once and shared by all factors and all permutations of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from neurostrata.core.families import family_blocks, family_parts, family_weights
from neurostrata.prediction.estimators import RIDGE_PENALTIES, widened_interval
from neurostrata.strata.comparison.covariates import COLUMNS as COVARIATE_COLUMNS
from neurostrata.strata.comparison.covariates import (
    covariate_columns,
    covariate_words,
    freed,
    orthonormal,
)
from neurostrata.strata.comparison.kruskal import benjamini_hochberg
from neurostrata.strata.comparison.repartition import permuted_labels

Array = NDArray[np.float64]
Labels = NDArray[np.intp]

#: How much more than a code's number an indicator of a cluster may count, tried one after the other; 0: not at all.
CLUSTER_WEIGHTS = (0.0, 1.0, 4.0, 16.0)
#: Components of codes and of factors at most in a canonical correlation, and people per component at least.
MOST_COMPONENTS = 20
PEOPLE_PER_COMPONENT = 10
#: Bootstrap draws of the intervals.
BOOTSTRAP = 2000
#: Fewest people beyond one for each column of covariates: with fewer there is nobody to learn from or to test.
FEWEST_PEOPLE = 6

COLUMNS = {
    "features": "what is predicted from",
    "method": "ridge (one factor from all features) or cca (all factors and all features at once)",
    "factor": "name of the factor; empty for cca",
    "value": "r2: share of the variance left by the covariates that is predicted in people not learned from, below 0 worse "
    "than without a prediction; canonical_correlation: first canonical correlation in people not learned from",
    "measure": "r2 or canonical_correlation",
    "low": "lower end of the 95% interval: bootstrap, families drawn as a whole, widened for what other training people would change",
    "high": "upper end",
    "p": "(permutations of the link of features and factors with at least this value + 1) / (permutations + 1)",
    "q": "Benjamini-Hochberg false-discovery rate of p over the factors, for each kind of features",
    "n": "people with the factor and every covariate",
    **COVARIATE_COLUMNS,
}
ADDED_COLUMNS = {
    "finder": "whose clusters are added",
    "factor": "name of the factor",
    "added_r2": "r2 of codes and clusters minus r2 of codes and the directions in which the clusters lie, in people not learned from",
    "low": "lower end of its 95% interval: bootstrap, families drawn as a whole, widened for what other training people would change",
    "high": "upper end",
    "p": "share of permutations with at least this gain; what codes and directions leave unexplained is permuted, their own effect stays",
    "q": "Benjamini-Hochberg false-discovery rate of p over the factors, for each finder",
    "n": "people with the factor and every covariate",
    **COVARIATE_COLUMNS,
}


@dataclass(frozen=True)
class _Scaling:
    """One way of weighting a fold's features: singular values, left vectors, projected test people."""

    scale: Array
    left: Array
    test: Array


class RidgeFold:
    """Ridge regression in one fold, for any number of targets at once.

    Parameters
    ----------
    train, test
        People x features.
    extra
        The same for further features with a weight of their own, or None. Penalty and weight are chosen together, for
        each target, by generalised cross-validation within the training people.

    Notes
    -----
    With X = U S V', ridge predictions for penalty L are X_test V S / (S^2 + L) U' y. The generalised cross-validation error
    is ||y - y_hat||^2 / (n - 1 - sum S^2 / (S^2 + L))^2 (Golub, Heath, Wahba 1979), a function of U' y and ||y||.
    """

    def __init__(self, train: Array, test: Array, extra: tuple[Array, Array] | None = None) -> None:
        self.people = len(train)
        own_train, own_test = _standardised(train, test)
        self.scalings = []
        if extra is None:
            self.scalings.append(_decompose(own_train, own_test))
        else:
            more_train, more_test = _standardised(*extra)
            for weight in CLUSTER_WEIGHTS:
                self.scalings.append(
                    _decompose(
                        np.hstack([own_train, weight * more_train]), np.hstack([own_test, weight * more_test])
                    )
                )

    def predict(self, targets: Array) -> Array:
        """Return predictions (test people x targets) for training targets (people x targets)."""
        centre = targets.mean(axis=0)
        centred = targets - centre
        total = (centred**2).sum(axis=0)
        best = np.full(targets.shape[1], np.inf)
        predicted = np.zeros((len(self.scalings[0].test), targets.shape[1]))
        for scaling in self.scalings:
            projected = scaling.left.T @ centred
            shrunk = scaling.scale[:, None] ** 2 / (scaling.scale[:, None] ** 2 + RIDGE_PENALTIES)
            # explained by the fit: sum (2 d - d^2) (U'y)^2
            explained = (2 * shrunk - shrunk**2).T @ projected**2
            left_over = np.maximum(self.people - 1 - shrunk.sum(axis=0), 1e-9)
            errors = np.maximum(total - explained, 0) / left_over[:, None] ** 2
            choice = errors.argmin(axis=0)
            error = errors[choice, np.arange(len(choice))]
            better = error < best
            best[better] = error[better]
            for number, penalty in enumerate(RIDGE_PENALTIES):
                chosen = better & (choice == number)
                if chosen.any():
                    slope = (scaling.scale / (scaling.scale**2 + penalty))[:, None] * projected[:, chosen]
                    predicted[:, chosen] = scaling.test @ slope
        return predicted + centre


def _standardised(train: Array, test: Array) -> tuple[Array, Array]:
    """Return both standardised by the training people's mean and deviation, without features that do not vary in them."""
    centre, spread = train.mean(axis=0), train.std(axis=0)
    varies = spread > 1e-12 * np.maximum(np.abs(centre), 1e-300)
    return (train - centre)[:, varies] / spread[varies], (test - centre)[:, varies] / spread[varies]


def _decompose(train: Array, test: Array) -> _Scaling:
    # By the smaller of X'X and XX': several times faster than the decomposition of X itself; directions whose singular
    # value is lost to rounding are dropped, which no penalty tried here would have let count.
    n, p = train.shape
    if p == 0:
        return _Scaling(np.zeros(0), np.zeros((n, 0)), np.zeros((len(test), 0)))
    if p <= n:
        values, axes = np.linalg.eigh(train.T @ train)
        kept = values > 1e-10 * max(values[-1], 1e-300)
        scale, axes = np.sqrt(values[kept]), axes[:, kept]
        return _Scaling(scale, train @ axes / scale, test @ axes)
    values, left = np.linalg.eigh(train @ train.T)
    kept = values > 1e-10 * max(values[-1], 1e-300)
    scale, left = np.sqrt(values[kept]), left[:, kept]
    return _Scaling(scale, left, test @ (train.T @ left / scale))


class Fold:
    """Who is learned from and who is tested, and the effects of the covariates in those who are learned from.

    Parameters
    ----------
    train, test
        Positions of the people.
    columns
        People x columns of the covariates.
    """

    def __init__(self, train: Labels, test: Labels, columns: Array) -> None:
        self.train, self.test = train, test
        moved = columns - columns[train[0]]  # exactly 0 where all that are learned from are alike
        centre = moved[train].mean(axis=0)
        self._train, self._test = moved[train] - centre, moved[test] - centre
        # of least squares the shortest solution: a class that nobody in training is of has no effect
        self._effects = np.linalg.pinv(self._train, rcond=1e-9)

    def freed(self, targets: Array) -> tuple[Array, Array]:
        """Return training and test people's targets (people x targets) without mean and effects of the covariates."""
        mean = targets[self.train].mean(axis=0)
        known, tested = targets[self.train] - mean, targets[self.test] - mean
        effects = self._effects @ known
        return known - self._train @ effects, tested - self._test @ effects


def divided(fold: Labels, columns: Array) -> list[Fold]:
    """Return the folds; `fold` has each person's, `columns` as in :class:`Fold`."""
    return [
        Fold(np.flatnonzero(fold != number), np.flatnonzero(fold == number), columns)
        for number in np.unique(fold)
    ]


class RidgeFolds:
    """Predictions of everybody by models of the other folds.

    Parameters
    ----------
    features
        People x features.
    folds
        See :func:`divided`.
    extra
        Further features with a weight of their own, see :class:`RidgeFold`.
    """

    def __init__(self, features: Array, folds: Sequence[Fold], extra: Array | None = None) -> None:
        self.parts = []
        for fold in folds:
            train, test = fold.train, fold.test
            more = None if extra is None else (extra[train], extra[test])
            self.parts.append((fold, RidgeFold(features[train], features[test], more)))

    def errors(self, targets: Array) -> tuple[Array, Array]:
        """Return squared errors with the predictions and without them, both like `targets`; covariates are removed before."""
        error, plain = np.empty_like(targets), np.empty_like(targets)
        for fold, model in self.parts:
            known, tested = fold.freed(targets)
            error[fold.test] = (tested - model.predict(known)) ** 2
            plain[fold.test] = tested**2
        return error, plain


def explained_share(error: Array, plain: Array, weights: Array | None = None) -> Array:
    """Return 1 - error / plain summed over people, for each column (and each row of bootstrap weights)."""
    if weights is None:
        error, plain = error.sum(axis=0), plain.sum(axis=0)
    else:
        error, plain = weights @ error, weights @ plain
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(plain > 0, 1 - error / plain, np.nan)


class CanonicalFolds:
    """First canonical correlation of features and factors in people not learned from.

    Features and factors are reduced to their leading principal components, learned from each fold's training people.
    """

    def __init__(self, features: Array, folds: Sequence[Fold]) -> None:
        self.parts = []
        for fold in folds:
            own_train, own_test = _standardised(features[fold.train], features[fold.test])
            left, projected = _leading(own_train, own_test)
            self.parts.append((fold, left, projected))

    def variates(self, factors: Array) -> tuple[Array, Array]:
        """Return everybody's first canonical variates of features and factors; both turned alike in each fold."""
        one, other = np.zeros(len(factors)), np.zeros(len(factors))
        for fold, left, projected in self.parts:
            own_train, own_test = _standardised(*fold.freed(factors))
            right, tested = _leading(own_train, own_test)
            if left.shape[1] == 0 or right.shape[1] == 0:
                continue
            a, _, b = np.linalg.svd(left.T @ right)
            one[fold.test], other[fold.test] = projected @ a[:, 0], tested @ b[0]
        return one, other


def _leading(train: Array, test: Array) -> tuple[Array, Array]:
    """Return orthonormal leading components of the training people, and the test people's on the same scale."""
    decomposed = _decompose(train, test)
    kept = min(MOST_COMPONENTS, max(1, len(train) // PEOPLE_PER_COMPONENT), len(decomposed.scale))
    order = np.argsort(-decomposed.scale)[:kept]
    return decomposed.left[:, order], decomposed.test[:, order] / decomposed.scale[order]


def correlation(one: Array, other: Array, weights: Array | None = None) -> Array:
    """Return the correlation about 0 (variates are centred by training people), for each row of weights.

    The sign of a fold's two variates does not matter: only products and squares are summed.
    """
    weights = np.ones((1, len(one))) if weights is None else weights
    size = np.sqrt((weights @ one**2) * (weights @ other**2))
    product = weights @ (one * other)
    return np.divide(product, size, out=np.zeros_like(product), where=size > 0)


def orders(families: Sequence[str], permutations: int, generator: np.random.Generator) -> Labels:
    """Return rows of people in whose order factors are taken (permutations x people); whole families are exchanged."""
    people = np.arange(len(families), dtype=np.intp)
    return np.concatenate(list(permuted_labels(people, family_blocks(families), permutations, generator)))


def indicators(clusters: pd.Series) -> Array:
    """Return people x clusters, 1 in each person's cluster; a person in no cluster (NaN) has zeros."""
    names = sorted(clusters.dropna().unique())
    return np.stack([(clusters == name).to_numpy(float) for name in names], axis=1)


def _p(value: Array, null: Array) -> Array:
    """Return (permutations that reach the value + 1) / (permutations + 1); null is permutations x values."""
    reached = (null >= value - 1e-12).sum(axis=0)
    return np.where(np.isnan(value), np.nan, (reached + 1) / (len(null) + 1))


@dataclass(frozen=True)
class Cohort:
    """People with the same factors known, their folds and their permutations.

    Attributes
    ----------
    rows
        Positions of the people among all.
    factors
        Positions of the factors that they have.
    basis
        People x columns: orthonormal columns that span the constant and the covariates.
    folds
        See :func:`divided`.
    named
        What was adjusted for (:func:`~neurostrata.strata.comparison.covariates.covariate_words`).
    orders
        Permutations x people.
    weights
        Bootstrap draws x people.
    """

    rows: Labels
    factors: Labels
    basis: Array
    folds: list[Fold]
    named: dict[str, str]
    orders: Labels
    weights: Array

    @property
    def ratios(self) -> list[float]:
        """Test people / training people of each fold."""
        return [len(fold.test) / len(fold.train) for fold in self.folds]

    @property
    def facts(self) -> tuple[object, ...]:
        """Values of the last columns of both tables: n and those of the covariates."""
        return (len(self.rows), *self.named.values())

    def freed(self, scores: Array) -> tuple[Array, Array]:
        """Return the people's factors without mean and covariates (people x factors), and which of the factors still vary."""
        own = scores[np.ix_(self.rows, self.factors)]
        return freed(own, self.basis)


def cohorts(
    scores: Array,
    families: Sequence[str],
    folds: int,
    permutations: int,
    seed: int,
    covariates: pd.DataFrame,
    splines: int | Literal["auto"],
) -> list[Cohort]:
    """Group the factors (people x factors, NaN: missing) by who has them and every covariate; groups of too few are left out."""
    found = []
    scores = np.where(covariates.notna().all(axis=1).to_numpy()[:, None], scores, np.nan)
    patterns, of_factor = np.unique(~np.isnan(scores), axis=1, return_inverse=True)
    for pattern in range(patterns.shape[1]):
        rows = np.flatnonzero(patterns[:, pattern])
        if len(rows) < FEWEST_PEOPLE:
            continue
        columns, curves, slopes = covariate_columns(covariates.iloc[rows], splines)
        basis = orthonormal(np.column_stack([np.ones(len(rows)), columns]))
        if len(rows) + 1 < FEWEST_PEOPLE + basis.shape[1]:
            continue
        relatives = [families[int(row)] for row in rows]
        generator = np.random.default_rng(seed)
        # At least two people to test in a fold.
        fold = family_parts(relatives, min(folds, len(rows) // 2), generator)
        if len(np.unique(fold)) < 2:
            continue
        found.append(
            Cohort(
                rows,
                np.flatnonzero(of_factor.ravel() == pattern),
                basis,
                divided(fold, columns),
                covariate_words([str(name) for name in covariates], curves, slopes),
                orders(relatives, permutations, generator),
                family_weights(relatives, BOOTSTRAP, generator),
            )
        )
    return found


def _permuted(values: Array, order: Labels) -> Array:
    """Return values (people x factors) in every order, side by side: people x (permutations * factors)."""
    return values[order].transpose(1, 0, 2).reshape(len(values), -1)


def _with_permutations(
    model: RidgeFolds, values: Array, left: Array, order: Labels
) -> tuple[Array, Array, Array]:
    """Return squared errors with and without predictions (people x factors), and R2 under permutations (permutations x factors).

    `values` are the factors, `left` what covariates leave of them, which is permuted.
    """
    error, plain = model.errors(values)
    null = explained_share(*model.errors(_permuted(left, order)))
    return error, plain, null.reshape(len(order), -1)


def compare_features(
    features: Mapping[str, Array],
    clusters: Mapping[str, pd.Series],
    scores: pd.DataFrame,
    families: Sequence[str],
    folds: int,
    permutations: int,
    seed: int,
    covariates: pd.DataFrame | None = None,
    splines: int | Literal["auto"] = 1,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predict every factor from every kind of features, and say what clusters add to codes.

    Parameters
    ----------
    features
        Name -> people x numbers; ``codes`` is what clusters are added to.
    clusters
        Finder -> cluster of the same people; NaN for those who belong nowhere.
    scores
        The same people x factors; NaN: missing.
    families
        One per person, "" for none.
    folds, permutations, seed
        Seed of the cross-validation and the permutations.
    covariates
        The same people x covariates of which factors are freed
        (:func:`~neurostrata.strata.comparison.covariates.known_covariates`); people who lack one are left out. None: no covariates.
    splines
        Degrees of freedom of a number's effect, see :func:`~neurostrata.strata.comparison.adjusted.compare_adjusted`.

    Returns
    -------
    table, added
        Columns :data:`COLUMNS` and :data:`ADDED_COLUMNS`.
    """
    values = scores.to_numpy(dtype=float)
    rows: list[tuple[object, ...]] = []
    added: list[tuple[object, ...]] = []
    of_cluster = {finder: indicators(partition) for finder, partition in clusters.items()}
    everything = dict(features) | {f"clusters of {finder}": own for finder, own in of_cluster.items()}
    if covariates is None:
        covariates = pd.DataFrame(index=scores.index)

    def grouped(of: Array) -> list[Cohort]:
        return cohorts(of, families, folds, permutations, seed, covariates, splines)

    for cohort in grouped(values):
        known = values[np.ix_(cohort.rows, cohort.factors)]
        left, varies = cohort.freed(values)
        names = scores.columns[cohort.factors]
        models = {name: RidgeFolds(body[cohort.rows], cohort.folds) for name, body in everything.items()}
        codes = features["codes"][cohort.rows]
        joint = {
            finder: RidgeFolds(codes, cohort.folds, own[cohort.rows]) for finder, own in of_cluster.items()
        }
        models |= {f"codes + clusters of {finder}": model for finder, model in joint.items()}
        errors = {}
        for name, model in models.items():
            error, plain, null = _with_permutations(model, known, left, cohort.orders)
            errors[name] = error
            value = np.where(varies, explained_share(error, plain), np.nan)
            drawn = np.where(varies, explained_share(error, plain, cohort.weights), np.nan)
            p = _p(value, null)
            for column, factor in enumerate(names):
                ends = widened_interval(float(value[column]), drawn[:, column], cohort.ratios)
                rows.append((name, "ridge", factor, value[column], "r2", *ends, p[column], *cohort.facts))
        for finder, model in joint.items():
            both = errors[f"codes + clusters of {finder}"]
            own = of_cluster[finder][cohort.rows]
            added += _added(finder, model, both, codes, own, values, list(names), cohort)
    asked = ~np.isnan(values).all(axis=0)
    complete = np.where(np.isnan(values[:, asked]).any(axis=1, keepdims=True), np.nan, values)
    for cohort in grouped(complete) if asked.any() else []:
        for name, body in features.items():
            rows.append(_canonical(name, body, values, cohort))
    table = pd.DataFrame(rows, columns=[c for c in COLUMNS if c != "q"])
    table = _ordered(table, ["method", "features"], list(scores.columns))
    table["q"] = _q(table, ["features", "method"])
    gains = pd.DataFrame(added, columns=[c for c in ADDED_COLUMNS if c != "q"])
    gains = _ordered(gains, ["finder"], list(scores.columns))
    gains["q"] = _q(gains, ["finder"])
    return table[list(COLUMNS)], gains[list(ADDED_COLUMNS)]


def _ordered(table: pd.DataFrame, first: list[str], factors: list[str]) -> pd.DataFrame:
    """Return rows in the order in which some columns' values were met, then in that of the factors."""
    keys = [pd.factorize(table[column])[0] for column in first]
    place = {factor: number for number, factor in enumerate(factors)}
    keys.append(table["factor"].map(place).fillna(-1).to_numpy())
    return table.iloc[np.lexsort(keys[::-1])].reset_index(drop=True)


def _q(table: pd.DataFrame, by: list[str]) -> pd.Series:
    """Return false-discovery rates of column p within groups of rows."""
    q = pd.Series(np.nan, index=table.index, dtype=float)
    for rows in table.groupby(by, sort=False).groups.values():
        q[rows] = benjamini_hochberg(table.loc[rows, "p"].to_numpy(dtype=float))
    return q


def _added(
    finder: str,
    joint: RidgeFolds,
    both: Array,
    codes: Array,
    own: Array,
    values: Array,
    names: list[str],
    cohort: Cohort,
) -> list[tuple[object, ...]]:
    """Return rows of :data:`ADDED_COLUMNS` without q.

    Codes and clusters (`joint`, with squared errors `both`) are compared with codes and what codes tell of the clusters by
    ridge regression: the directions in which these lie, which may count more than the other directions just as clusters
    (`own`, indicators) may. Against codes alone, clusters along one direction of a continuum would add to them, because ridge
    shrinks that direction as it does all others. The null is that factors depend on codes and directions alone: what their
    regression of everybody leaves is permuted and put back on its prediction (Freedman and Lane), then both models are fitted
    as before.
    """
    left, varies = cohort.freed(values)
    directions = RidgeFold(codes, codes).predict(own)
    alone = RidgeFolds(codes, cohort.folds, directions)
    error, plain = alone.errors(values[np.ix_(cohort.rows, cohort.factors)])
    gain = np.where(varies, explained_share(both, plain) - explained_share(error, plain), np.nan)
    drawn = explained_share(both, plain, cohort.weights) - explained_share(error, plain, cohort.weights)
    drawn = np.where(varies, drawn, np.nan)
    fitted = RidgeFold(codes, codes, (directions, directions)).predict(left)
    rebuilt = np.tile(fitted, (1, len(cohort.orders))) + _permuted(left - fitted, cohort.orders)
    null = explained_share(*joint.errors(rebuilt)) - explained_share(*alone.errors(rebuilt))
    p = _p(gain, null.reshape(len(cohort.orders), -1))
    rows: list[tuple[object, ...]] = []
    for column, factor in enumerate(names):
        ends = widened_interval(float(gain[column]), drawn[:, column], cohort.ratios, most=np.inf)
        rows.append((finder, factor, gain[column], *ends, p[column], *cohort.facts))
    return rows


def _canonical(name: str, body: Array, values: Array, cohort: Cohort) -> tuple[object, ...]:
    """Return the row of the canonical correlation, of the people who have every factor that anybody has."""
    left, varies = cohort.freed(values)
    known, left = values[np.ix_(cohort.rows, cohort.factors[varies])], left[:, varies]
    model = CanonicalFolds(body[cohort.rows], cohort.folds)
    one, other = model.variates(known)
    value = correlation(one, other)
    null = np.stack([correlation(*model.variates(left[order])) for order in cohort.orders])
    ends = widened_interval(float(value[0]), correlation(one, other, cohort.weights), cohort.ratios, -1)
    p = float(_p(value, null)[0])
    return (name, "cca", "", float(value[0]), "canonical_correlation", *ends, p, *cohort.facts)
