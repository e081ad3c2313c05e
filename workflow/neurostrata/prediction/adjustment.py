"""Codes of one fold without differences between sites and without covariates, learned from its training people."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from neurostrata.core.embeddings import Embeddings
from neurostrata.core.errors import UserError
from neurostrata.phenotypes.covariates import CovariateDesign, code_covariates
from neurostrata.prediction.combat import ComBat


class LinearAdjustment:
    """Remove linear effects of covariates from codes (least squares, learned from some people).

    Attributes
    ----------
    coefficients_ : ndarray, shape (columns, dimensions)
    """

    def fit(self, values: np.ndarray, covariates: np.ndarray) -> LinearAdjustment:
        """Learn the effects; values (people, dimensions), covariates (people, columns)."""
        self.centre_ = covariates.mean(axis=0)
        design = np.column_stack([np.ones(len(values)), covariates - self.centre_])
        if len(values) <= design.shape[1]:
            raise UserError(
                f"covariates: {len(values)} training people are too few for {covariates.shape[1]} columns of covariates"
            )
        # covariates that say the same share their effect; what is removed is the same
        self.coefficients_ = np.linalg.lstsq(design, values, rcond=None)[0][1:]
        return self

    def transform(self, values: np.ndarray, covariates: np.ndarray) -> np.ndarray:
        """Return the values as they would be at the mean of the covariates."""
        return values - (covariates - self.centre_) @ self.coefficients_


@dataclass(frozen=True)
class Adjustment:
    """What is to be removed from codes, and what everybody's sites and covariates are.

    Attributes
    ----------
    table : DataFrame
        Index: subjects; the columns below, as read.
    sites : str or None
        Column whose sites are harmonised (:class:`neurostrata.prediction.combat.ComBat`).
    keep, covariates : tuple of str
        Columns whose effects stay when sites are harmonised; columns whose effects are removed afterwards.
    """

    table: pd.DataFrame
    sites: str | None = None
    keep: tuple[str, ...] = ()
    covariates: tuple[str, ...] = ()
    _coded: pd.DataFrame = field(init=False, repr=False)

    def __post_init__(self) -> None:
        names = list(dict.fromkeys([*self.keep, *self.covariates]))
        object.__setattr__(self, "_coded", code_covariates(self.table[names]))

    def apply(self, codes: Embeddings) -> tuple[Embeddings, pd.DataFrame]:
        """Adjust one fold's codes.

        Everything is learned from people whose role is ``train``. Who lacks a site or a covariate, or is of a site
        (or class) that the training people do not show often enough, is left out.

        Returns
        -------
        adjusted : Embeddings
            Of those who are not left out.
        left_out : DataFrame
            subject, role, reason.

        Raises
        ------
        UserError
            When the sites cannot be learned.
        """
        reasons = pd.Series("", index=codes.subjects, dtype=object)
        rows = self._coded.reindex(codes.subjects)
        train = (codes.table["role"] == "train").to_numpy()
        kept, removed = list(self.keep), list(self.covariates)
        sites = np.full(len(codes.subjects), "", dtype=object)
        if self.sites is not None:
            column = self.table[self.sites].reindex(codes.subjects).replace("", np.nan)
            sites = column.where(column.isna(), column.astype(str)).fillna("").to_numpy(dtype=object)
            reasons[sites == ""] = f"no {self.sites}"
        design_kept = CovariateDesign().fit(rows[kept][train])
        design_removed = CovariateDesign().fit(rows[removed][train])
        for design, names in ((design_kept, kept), (design_removed, removed)):
            found = np.array(design.problems(rows[names]), dtype=object)
            reasons = reasons.where(reasons != "", found)
        values = codes.values
        if self.sites is not None:
            learn = train & (reasons == "").to_numpy()
            matrix = design_kept.transform(rows[kept])
            model = ComBat().fit(values[learn], sites[learn], matrix[learn])
            strange = ~model.knows(sites) & (reasons == "").to_numpy()
            reasons[strange] = [
                f"{self.sites} '{site}' has fewer than {model.least_people} training people"
                for site in sites[strange]
            ]
            fine = (reasons == "").to_numpy()
            values = values.copy()
            values[fine] = model.transform(values[fine], sites[fine], matrix[fine])
        fine = (reasons == "").to_numpy()
        if removed:
            matrix = design_removed.transform(rows[removed])
            linear = LinearAdjustment().fit(values[train & fine], matrix[train & fine])
            values = values.copy()
            values[fine] = linear.transform(values[fine], matrix[fine])
        left_out = pd.DataFrame(
            {
                "subject": np.array(codes.subjects, dtype=object)[~fine],
                "role": codes.table["role"].to_numpy()[~fine],
                "reason": reasons.to_numpy()[~fine],
            }
        )
        return Embeddings(codes.subjects, values, codes.table).select(fine), left_out
