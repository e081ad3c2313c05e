"""Removal of site differences and of the effects of covariates from codes: those of one fold, and those of everybody."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd

from neurostrata.adjustment.combat import ComBat
from neurostrata.core.config import PEOPLE_PER_COLUMN, PEOPLE_PER_CURVED_COLUMN
from neurostrata.core.embeddings import Embeddings
from neurostrata.core.errors import UserError
from neurostrata.phenotypes.covariates import CovariateDesign, add_reason, code_covariates, find_columns

#: Least number of training people from whom a site is learned.
LEAST_PEOPLE = 3
#: Columns of `strata.adjust.columns: auto`, in this order, as far as the study has them: one column for every
#: :data:`PEOPLE_PER_COLUMN` people, because each column that is removed also removes some of the signal.
AUTOMATIC = ("age", "sex", "head_size")
#: Least share of the people who have a column that is taken unasked: whoever lacks it is left out.
LEAST_KNOWN = 0.5


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
        # covariates that are linearly dependent share their effect; what is removed is the same
        self.coefficients_ = np.linalg.lstsq(design, values, rcond=None)[0][1:]
        return self

    def transform(self, values: np.ndarray, covariates: np.ndarray) -> np.ndarray:
        """Return the values as they would be at the mean of the covariates."""
        return values - (covariates - self.centre_) @ self.coefficients_


@dataclass(frozen=True)
class Adjustment:
    """The columns whose effects are removed from codes, and everybody's values in them.

    Attributes
    ----------
    table : DataFrame
        Index: subjects; the columns below, as read.
    sites : str or None
        Column whose sites are harmonised (:class:`neurostrata.adjustment.combat.ComBat`).
    keep, covariates : tuple of str
        Columns whose effects are kept when sites are harmonised; columns whose effects are removed afterwards.
    splines : int or "auto"
        Degrees of freedom of a number's effect that is removed; see :class:`CovariateDesign`.
    """

    table: pd.DataFrame
    sites: str | None = None
    keep: tuple[str, ...] = ()
    covariates: tuple[str, ...] = ()
    splines: int | Literal["auto"] = 1
    _coded: pd.DataFrame = field(init=False, repr=False)

    def __post_init__(self) -> None:
        names = list(dict.fromkeys([*self.keep, *self.covariates]))
        object.__setattr__(self, "_coded", code_covariates(self.table[names]))

    def apply(self, codes: Embeddings) -> tuple[Embeddings, pd.DataFrame]:
        """Adjust one fold's codes.

        The effects of sites and of covariates are learned together, so that where sites differ in a covariate neither is taken
        for the other: the sites are told from everything that is kept or removed, then the covariates' effects are removed.
        Everything is learned from people whose role is ``train``. People who lack a site or a covariate are left out, and those
        of a site (or class) with too few training people.

        Returns
        -------
        adjusted : Embeddings
            Codes of the people who are not left out.
        left_out : DataFrame
            subject, role, reason.

        Raises
        ------
        UserError
            When the sites cannot be learned.
        """
        train = (codes.table["role"] == "train").to_numpy()
        kept = self._coded[list(self.keep)].reindex(codes.subjects)
        removed = self._coded[list(self.covariates)].reindex(codes.subjects)
        reasons = np.full(len(train), "", dtype=object)
        if self.sites is not None:
            column = self.table[self.sites].reindex(codes.subjects).replace("", np.nan)
            sites = column.where(column.isna(), column.astype(str)).fillna("").to_numpy(dtype=object)
            add_reason(reasons, sites == "", f"no {self.sites}")
            complete = (kept.notna().all(axis=1) & removed.notna().all(axis=1)).to_numpy()
            counts = Counter(sites[train & complete])
            for site in sorted(set(sites) - {""}):
                if counts[site] < LEAST_PEOPLE:
                    small = f"{self.sites} '{site}' has fewer than {LEAST_PEOPLE} training people"
                    add_reason(reasons, sites == site, small)
        learn = train & (reasons == "")
        designs = [
            CovariateDesign().fit(kept[learn]),
            CovariateDesign(self.splines, PEOPLE_PER_CURVED_COLUMN).fit(removed[learn]),
        ]
        for reason in (
            designs[0].problems(kept),
            designs[1].problems(removed[removed.columns.difference(kept.columns)]),
        ):
            for text in set(reason) - {""}:
                add_reason(reasons, reason == text, text)
        fine = reasons == ""
        values = codes.values.copy()
        if self.sites is not None:
            matrix, later = designs[0].transform(kept), designs[1].transform(removed)
            # kept here, removed below: without it, the sites would take the part of its effect in which they differ
            known = _independent(sites[train & fine], matrix[train & fine], later[train & fine])
            matrix = np.hstack([matrix, later[:, known]])
            model = ComBat(LEAST_PEOPLE).fit(values[train & fine], sites[train & fine], matrix[train & fine])
            values[fine] = model.transform(values[fine], sites[fine], matrix[fine])
        if self.covariates:
            matrix = designs[1].transform(removed)
            linear = LinearAdjustment().fit(values[train & fine], matrix[train & fine])
            values[fine] = linear.transform(values[fine], matrix[fine])
        left_out = pd.DataFrame(
            {
                "subject": np.array(codes.subjects, dtype=object)[~fine],
                "role": codes.table["role"].to_numpy()[~fine],
                "reason": reasons[~fine],
            }
        )
        return Embeddings(codes.subjects, values, codes.table).select(fine), left_out


def _independent(sites: np.ndarray, kept: np.ndarray, columns: np.ndarray) -> list[int]:
    """Return which columns are no linear combination of the sites, of what is kept and of the columns before them."""
    design = np.column_stack([sites[:, None] == np.unique(sites.astype(str))[None], kept])
    rank, found = int(np.linalg.matrix_rank(design)), []
    for number, column in enumerate(columns.T):
        wider = np.column_stack([design, column])
        if (more := int(np.linalg.matrix_rank(wider))) > rank:
            design, rank = wider, more
            found.append(number)
    return found


def known_columns(columns: Sequence[str], people: pd.DataFrame) -> list[str]:
    """Return the columns that at least :data:`LEAST_KNOWN` of these people have and that differ among them."""
    return [
        column
        for column in columns
        if column in people and people[column].nunique() > 1 and people[column].notna().mean() >= LEAST_KNOWN
    ]


def adjusting(columns: str | Sequence[str], people: pd.DataFrame) -> list[str]:
    """Return the columns that codes are adjusted by; ``auto`` takes those of :data:`AUTOMATIC` that vary and that most people have."""
    if columns != "auto":
        return list(columns)
    known = known_columns(AUTOMATIC, people)
    return known[: max(1, len(people) // PEOPLE_PER_COLUMN)]


def curves_removed(adjust: Mapping[str, Any], people: pd.DataFrame) -> dict[str, int]:
    """Return the degrees of freedom of each number of which these people's codes are freed along a curve.

    Parameters
    ----------
    adjust
        ``columns``, ``splines``.
    people
        Those who are not left out.
    """
    columns = people[adjusting(adjust["columns"], people)]
    design = CovariateDesign(adjust["splines"], PEOPLE_PER_CURVED_COLUMN)
    return design.fit(code_covariates(columns)).curves_


def free_of_covariates(
    codes: Embeddings, people: pd.DataFrame, adjust: Mapping[str, Any]
) -> tuple[Embeddings, pd.DataFrame]:
    """Remove the effects of covariates and sites from codes; they are learned from all of these people.

    Parameters
    ----------
    codes
        Codes of everybody who is clustered.
    people
        Index: subjects; their characteristics.
    adjust
        ``columns``, ``sites``, ``splines``.

    Returns
    -------
    codes : Embeddings
        Of the people who have every covariate and site.
    left_out : DataFrame
        subject, reason.

    Raises
    ------
    UserError
        When a column is unknown, or fewer than 3 people are left.
    """
    table = people.reindex(codes.subjects)
    sites, columns = adjust["sites"], adjusting(adjust["columns"], table)
    nobody = pd.DataFrame(columns=["subject", "reason"])
    if not (columns or sites):
        return codes, nobody
    used = find_columns([*columns, *([sites] if sites else [])], [table], "strata.adjust.columns")
    adjustment = Adjustment(used, sites, (), tuple(columns), adjust["splines"])
    everybody = Embeddings(codes.subjects, codes.values, codes.table.assign(role="train"))
    try:
        adjusted, left_out = adjustment.apply(everybody)
    except UserError as error:
        raise UserError(f"strata.adjust: {error}") from error
    if len(adjusted.subjects) < 3:
        raise UserError(
            f"strata.adjust: only {len(adjusted.subjects)} of {len(codes.subjects)} people have every one of "
            f"{', '.join(columns)}; take columns off the list"
        )
    return adjusted, left_out[["subject", "reason"]]


def share_removed(codes: Embeddings, adjusted: Embeddings) -> float:
    """Return the share of the codes' variance that was removed, over the people who are not left out."""
    place = {subject: row for row, subject in enumerate(codes.subjects)}
    before = codes.values[[place[subject] for subject in adjusted.subjects]]
    total = float(before.var(axis=0).sum())
    return float(1 - adjusted.values.var(axis=0).sum() / total) if total > 0 else float(np.nan)
