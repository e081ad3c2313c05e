"""ComBat: differences of codes between sites in location and scale, learned from some people and removed from all.

Johnson et al. 2007 (Biostatistics 8:118), for images Fortin et al. 2018 (NeuroImage 167:104). Each dimension v of
person j of site i is modelled as

    y_ijv = alpha_v + x_j beta_v + gamma_iv + delta_iv e_ijv

where x has the covariates whose effects are kept (age, sex). The gamma and delta of a site are shrunk over dimensions by
empirical Bayes (normal and inverse gamma priors, their parameters by moments), which makes small sites usable.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neurostrata.core.errors import UserError

#: Largest relative change of an estimate at which the iteration ends. The reference implementations stop at 1e-4.
TOLERANCE = 1e-8
_MOST_ITERATIONS = 1000
#: Dimensions whose residual variance is below this share of their variance have no scale to harmonise.
_LEAST_RESIDUAL = 1e-10
#: Residuals below this share of a dimension's values are rounding: those of a constant are not always 0.
_ROUNDING = 1e-12


class ComBat:
    """Harmonise codes of several sites, with scikit-learn's `fit` and `transform`.

    Parameters
    ----------
    least_people
        A site with fewer training people is not learned; people from it cannot be transformed.

    Attributes
    ----------
    sites_ : list of str
        The sites that were learned, sorted.
    gamma_, delta_ : ndarray, shape (sites, dimensions)
        Location and (squared) scale of each site in units of the pooled residual's standard deviation.
    mean_ : ndarray, shape (dimensions,)
        Mean over the training people at the mean of the kept covariates.
    coefficients_ : ndarray, shape (kept, dimensions)
        Effects of the kept covariates.
    scale_ : ndarray, shape (dimensions,)
        Standard deviation of the pooled residuals.
    """

    def __init__(self, least_people: int = 3) -> None:
        self.least_people = least_people

    def fit(
        self, values: np.ndarray, sites: Sequence[str] | np.ndarray, keep: np.ndarray | None = None
    ) -> ComBat:
        """Learn the differences of the sites; people of sites with too few people are ignored.

        Parameters
        ----------
        values
            (people, dimensions).
        sites
            Site of each person.
        keep
            (people, columns), covariates whose effects are kept although sites differ in them; None: nothing.

        Raises
        ------
        UserError
            When fewer than two sites have enough people, or a kept covariate is a linear combination of the sites.
        """
        values, labels = np.asarray(values, dtype=np.float64), np.asarray(sites, dtype=object)
        keep = np.zeros((len(values), 0)) if keep is None else np.asarray(keep, dtype=np.float64)
        names, counts = np.unique(labels.astype(str), return_counts=True)
        self.sites_ = [str(name) for name, count in zip(names, counts) if count >= self.least_people]
        if len(self.sites_) < 2:
            raise UserError(
                f"harmonise: fewer than two sites have {self.least_people} or more training people; remove it, or use fewer "
                "folds"
            )
        used = np.isin(labels.astype(str), self.sites_)
        values, keep, labels = values[used], keep[used], labels[used].astype(str)
        self.centre_ = keep.mean(axis=0)
        member = (labels[:, None] == np.array(self.sites_)[None]).astype(float)
        design = np.hstack([member, keep - self.centre_])
        people, share = len(values), member.mean(axis=0)
        if np.linalg.matrix_rank(design) < design.shape[1]:
            raise UserError(
                "harmonise: keep: a column cannot be told from the sites (or from the other columns) among the "
                "training people of a fold; take it off, or harmonise sites that overlap in it"
            )
        effects = np.linalg.lstsq(design, values, rcond=None)[0]
        of_sites, self.coefficients_ = effects[: len(self.sites_)], effects[len(self.sites_) :]
        self.mean_ = share @ of_sites
        residual = values - design @ effects
        variance = (residual**2).sum(axis=0) / people
        # a dimension that sites and kept covariates explain completely has a location but no scale
        rounding = (_ROUNDING * np.abs(values).max(axis=0)) ** 2
        flat = variance <= np.maximum(_LEAST_RESIDUAL * values.var(axis=0), rounding)
        self.scale_ = np.where(flat, 1.0, np.sqrt(variance))
        standardised = (values - self.mean_ - (keep - self.centre_) @ self.coefficients_) / self.scale_
        self.gamma_ = np.empty((len(self.sites_), values.shape[1]))
        self.delta_ = np.ones_like(self.gamma_)
        for number in range(len(self.sites_)):
            of_site = standardised[member[:, number] > 0]
            self.gamma_[number] = of_site.mean(axis=0)
            if (~flat).any():
                self.gamma_[number, ~flat], self.delta_[number, ~flat] = empirical_bayes(of_site[:, ~flat])
        return self

    def knows(self, sites: Sequence[str] | np.ndarray) -> np.ndarray:
        """Tell for each person whether the site was learned, (people,) bool."""
        return np.isin(np.asarray(sites, dtype=object).astype(str), self.sites_)

    def transform(
        self, values: np.ndarray, sites: Sequence[str] | np.ndarray, keep: np.ndarray | None = None
    ) -> np.ndarray:
        """Remove the differences of each person's site, each person independently; parameters as in :meth:`fit`.

        Returns
        -------
        ndarray, shape (people, dimensions)

        Raises
        ------
        ValueError
            When a site was not learned (see :meth:`knows`).
        """
        values = np.asarray(values, dtype=np.float64)
        if not self.knows(sites).all():
            raise ValueError("a person of a site that was not learned cannot be harmonised")
        place = np.array([self.sites_.index(str(site)) for site in sites], dtype=int)
        keep = np.zeros((len(values), 0)) if keep is None else np.asarray(keep, dtype=np.float64)
        expected = self.mean_ + (keep - self.centre_) @ self.coefficients_
        standardised = (values - expected) / self.scale_
        return expected + self.scale_ * (standardised - self.gamma_[place]) / np.sqrt(self.delta_[place])


def empirical_bayes(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Estimate one site's location and squared scale, shrunk over dimensions (Johnson 2007, 3.2).

    Parameters
    ----------
    values
        (people of the site, dimensions), standardised values.

    Returns
    -------
    gamma, delta : ndarray, shape (dimensions,)
        The posterior means; with a single dimension, which cannot be shrunk, the plain estimates.
    """
    people = len(values)
    gamma_hat, delta_hat = values.mean(axis=0), values.var(axis=0, ddof=1)
    if values.shape[1] < 2:
        return gamma_hat, np.where(delta_hat > 0, delta_hat, 1.0)
    gamma_bar, tau = gamma_hat.mean(), gamma_hat.var(ddof=1)
    middle, spread = delta_hat.mean(), delta_hat.var(ddof=1)
    if spread <= 1e-12 * middle**2:  # all equal: the prior is a point, and no iteration is needed
        delta = np.full_like(delta_hat, middle if middle > 0 else 1.0)
        return (people * tau * gamma_hat + delta * gamma_bar) / (people * tau + delta), delta
    a, b = (2 * spread + middle**2) / spread, (middle * spread + middle**3) / spread
    gamma, delta = gamma_hat, delta_hat
    for _ in range(_MOST_ITERATIONS):
        new_gamma = (people * tau * gamma_hat + delta * gamma_bar) / (people * tau + delta)
        squares = ((values - new_gamma) ** 2).sum(axis=0)
        new_delta = (0.5 * squares + b) / (people / 2 + a - 1)
        change = max(_relative(new_gamma, gamma), _relative(new_delta, delta))
        gamma, delta = new_gamma, new_delta
        if change < TOLERANCE:
            break
    return gamma, delta


def _relative(new: np.ndarray, old: np.ndarray) -> float:
    return float((np.abs(new - old) / np.maximum(np.abs(old), 1e-12)).max())
