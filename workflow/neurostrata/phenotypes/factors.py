"""Principal components of a phenotype table, rotated and scored as R's ``psych::principal`` does it.

Dimitri et al. 2.2.2: PCA, components with eigenvalue > 1, varimax rotation, scores by regression.
The rotation is `factor_analyzer.rotator.Rotator` (varimax with Kaiser normalisation, R's own stopping
rule), which follows ``stats::varimax`` step by step. `FactorAnalyzer(method="principal")` itself is not
used: it scales by the standard deviation with n instead of n-1 in the denominator, so that its scores
are off from R's by sqrt(n/(n-1)), it inverts the correlation matrix, which fails with more variables
than people, and its SVD is randomised. It also fails with scikit-learn 1.8 and later, which the Rotator does not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass
class FactorSolution:
    """Rotated components of a correlation matrix.

    Attributes
    ----------
    eigenvalues
        All eigenvalues of the correlation matrix, decreasing.
    loadings
        Variables x factors, after rotation; factors by decreasing variance, the largest absolute
        loading of each positive (the first of equal ones).
    weights
        Variables x factors: standardised values times these are the scores (regression method).
    variance
        Sum of squared loadings per factor.
    """

    eigenvalues: Array
    loadings: Array
    weights: Array
    variance: Array

    @property
    def communalities(self) -> Array:
        """Share of each variable's variance that the factors hold."""
        return np.sum(self.loadings**2, axis=1)


def standardise(values: Array) -> tuple[Array, Array, Array]:
    """Return (values - mean) / sd, the means, and the standard deviations (n - 1, as R)."""
    mean = values.mean(axis=0)
    sd = values.std(axis=0, ddof=1)
    return (values - mean) / sd, mean, sd


def correlation_eigen(standardised: Array) -> tuple[Array, Array]:
    """Return eigenvalues (decreasing) and eigenvectors (columns) of the correlation matrix.

    With more variables than people they come from the matrix of people x people, which has the same eigenvalues but
    for zeros: a table of thousands of variables takes seconds instead of hours. The vectors are then those of the
    eigenvalues above 0.
    """
    people, variables = standardised.shape
    if variables > people:
        values, sides = np.linalg.eigh(standardised @ standardised.T / (people - 1))
        # standardised columns sum to zero, so one of the people's dimensions is empty
        values, sides = np.clip(values[::-1], 0.0, None), sides[:, ::-1][:, : people - 1]
        every = np.zeros(variables)
        every[: people - 1] = values[: people - 1]
        lengths = np.sqrt(every[: people - 1] * (people - 1))
        return every, standardised.T @ sides / np.where(lengths > 0, lengths, np.inf)
    correlation = standardised.T @ standardised / (len(standardised) - 1)
    values, vectors = np.linalg.eigh((correlation + correlation.T) / 2)
    return np.clip(values[::-1], 0.0, None), vectors[:, ::-1]


def kaiser_count(eigenvalues: Array) -> int:
    """Return how many eigenvalues exceed 1 (beyond rounding), at least one."""
    return max(1, int(np.sum(eigenvalues > 1 + 1e-9)))


def parallel_analysis(people: int, variables: int, draws: int, seed: int) -> Array:
    """Return eigenvalues (draws x variables) of correlation matrices of independent normal tables."""
    generator = np.random.default_rng(seed)
    found = np.empty((draws, variables))
    for draw in range(draws):
        table = standardise(generator.standard_normal((people, variables)))[0]
        if variables > people:
            found[draw] = 0
            values = np.linalg.eigvalsh(table @ table.T / (people - 1))[::-1]
            found[draw, : people - 1] = np.clip(values[: people - 1], 0.0, None)
        else:
            found[draw] = correlation_eigen(table)[0]
    return found


def varimax(loadings: Array, tolerance: float = 1e-5, max_iter: int = 1000) -> tuple[Array, Array]:
    """Rotate by varimax with Kaiser normalisation.

    Parameters
    ----------
    loadings
        Variables x components.
    tolerance, max_iter
        The stopping rule; the defaults are those of R's ``stats::varimax``.

    Returns
    -------
    rotated, rotation
        ``rotated = loadings @ rotation``, and `rotation` is orthogonal.
    """
    if loadings.shape[1] < 2:
        return loadings.copy(), np.eye(loadings.shape[1])
    from factor_analyzer.rotator import Rotator

    # a variable without loadings has no direction to normalise and is left out of the rotation
    held = np.sum(loadings**2, axis=1) > 1e-12
    rotator = Rotator(method="varimax", normalize=True, tol=tolerance, max_iter=max_iter)
    rotator.fit_transform(loadings[held])
    rotation = np.asarray(rotator.rotation_, dtype=float)
    return loadings @ rotation, rotation


def principal_varimax(
    standardised: Array, n_factors: int | None = None, tolerance: float = 1e-5, max_iter: int = 1000
) -> FactorSolution:
    """Fit principal components with eigenvalue > 1 and rotate them.

    Parameters
    ----------
    standardised
        People x variables, each of mean 0 and sd 1 (n - 1).
    n_factors
        How many components; None: those with eigenvalue > 1.
    tolerance, max_iter
        See `varimax`.

    Notes
    -----
    psych's regression weights are R^-1 L. For principal components L = V D^(1/2) T (eigenvectors,
    eigenvalues, rotation), so R^-1 L = V D^(-1/2) T: the same where R can be inverted, and its
    pseudo-inverse where it can't (more variables than people, variables that depend on each other).
    """
    eigenvalues, vectors = correlation_eigen(standardised)
    count = kaiser_count(eigenvalues) if n_factors is None else n_factors
    rank = int(np.sum(eigenvalues > 1e-10 * eigenvalues[0]))
    count = min(count, rank)
    root = np.sqrt(eigenvalues[:count])
    rotated, rotation = varimax(vectors[:, :count] * root, tolerance, max_iter)
    weights = (vectors[:, :count] / root) @ rotation
    variance = np.sum(rotated**2, axis=0)
    order = np.argsort(-variance, kind="stable")
    rotated, weights = rotated[:, order], weights[:, order]
    size = np.abs(rotated)
    # of variables that load alike (one the mirror of another) the first, so that rounding does not decide on the sign
    largest = rotated[np.argmax(size >= size.max(axis=0) * (1 - 1e-6), axis=0), np.arange(count)]
    sign = np.where(largest < 0, -1.0, 1.0)
    return FactorSolution(eigenvalues, rotated * sign, weights * sign, variance[order])


def tucker_congruence(first: Array, second: Array) -> Array:
    """Return Tucker's congruence coefficient of every column of `first` with every one of `second`."""
    norms = np.outer(np.linalg.norm(first, axis=0), np.linalg.norm(second, axis=0))
    return (first.T @ second) / norms
