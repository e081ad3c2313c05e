"""How quality goes with site, age and sex: reported, and taken into account when people are compared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from neurostrata.core.families import families_of, family_numbers
from neurostrata.quality.expected import ages
from neurostrata.strata.comparison.kruskal import benjamini_hochberg, eta_squared, eta_squared_interval

Array = NDArray[np.float64]
Labels = NDArray[np.intp]

COLUMNS = {
    "measure": "what was measured",
    "characteristic": "site, age or sex",
    "effect_name": "rho: Spearman's rank correlation; eta2: share of rank variance between sites or sexes",
    "effect": "effect size",
    "low": "lower end of its 95% interval",
    "high": "upper end",
    "p": "of no association (Spearman, Kruskal-Wallis), as large as it has to be where relatives are alike",
    "p_adjusted": "false-discovery rate over all rows (Benjamini and Hochberg 1995)",
    "n": "people with both; of sites and sexes those of at least 5 people",
}
#: Classes of fewer people are left out.
FEWEST = 5
CONFIDENCE = 0.95


def relate_to_people(measured: pd.DataFrame, people: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each measure and each of site, age and sex; columns :data:`COLUMNS`.

    Parameters
    ----------
    measured
        Index: subjects; a column per measure.
    people
        Characteristics by subject; with ``family``, p and intervals allow for relatives (:func:`design_effect`).
    """
    about = people.reindex(measured.index)
    family = family_numbers(families_of(about, measured.index))
    rows = []
    for name, column in measured.items():
        for characteristic in ("site", "age", "sex"):
            if characteristic not in about:
                continue
            of = about[characteristic]
            of = ages(of) if characteristic == "age" else of.replace("", np.nan)
            known = column.notna() & of.notna()
            found = (_number if characteristic == "age" else _classes)(
                column[known], of[known], family[known.to_numpy()]
            )
            if found:
                rows.append({"measure": name, "characteristic": characteristic, **found})
    table = pd.DataFrame(rows, columns=[c for c in COLUMNS if c != "p_adjusted"])
    table["p_adjusted"] = benjamini_hochberg(table["p"].to_numpy(dtype=float))
    return table[list(COLUMNS)]


def design_effect(values: Array, of: Array, family: Labels) -> float:
    """Return how much more an association of ranks varies than between people of whom none are related.

    Brothers and sisters are scanned at one site, are of about one age, and resemble each other: they count for less than as many
    strangers. Of a regression it is (1 - rho) + rho times what the characteristic's sums over families amount to, rho the correlation of
    relatives in what the regression leaves (Scott and Holt 1982, J Am Stat Assoc 77:848); with several classes the mean over
    their contrasts (Rao and Scott 1981, J Am Stat Assoc 76:221). Where the characteristic differs within families more than between them it
    would be below 1, down to 0 for pairs of a man and a woman who are alike; it is 1 then.

    Parameters
    ----------
    values
        Of each person.
    of
        People x columns of the characteristic: its ranks, or an indicator of each class.
    family
        Number of each person's family.

    Returns
    -------
    float
        At least 1; 1 without relatives.
    """

    def summed(columns: Array) -> Array:
        return np.stack([np.bincount(family, column) for column in columns.T], axis=1)

    size = np.bincount(family)
    pairs = (size * (size - 1)).sum()
    left, scale, _ = np.linalg.svd(of - of.mean(axis=0), full_matrices=False)
    basis = left[:, scale > 1e-9 * scale[0]]
    ranks = stats.rankdata(values)[:, None]
    ranks -= ranks.mean()
    rest = ranks - basis @ (basis.T @ ranks)
    square = (rest**2).sum()
    if pairs == 0 or square <= 1e-9 * (ranks**2).sum():
        return 1.0
    alike = ((summed(rest) ** 2).sum() - square) / pairs / (square / len(rest))
    rho = float(np.clip(alike, 0, 1))
    return 1 - rho + rho * max(1.0, float((summed(basis) ** 2).sum(axis=0).mean()))


def _number(values: pd.Series, of: pd.Series, family: Labels) -> dict[str, Any]:
    n = len(values)
    if n < 2 * FEWEST or values.nunique() < 2 or of.nunique() < 2:
        return {}
    rho, p = stats.spearmanr(values, of)
    more = design_effect(values.to_numpy(float), stats.rankdata(of)[:, None], family)
    if more != 1 and abs(rho) < 1:
        p = 2 * stats.t.sf(abs(rho) * np.sqrt((n - 2) / (1 - rho**2) / more), n - 2)
    # Fisher's z with the variance of Bonett and Wright (2000)
    half = stats.norm.ppf((1 + CONFIDENCE) / 2) * np.sqrt(more * (1 + rho**2 / 2) / (n - 3))
    centre = np.arctanh(np.clip(rho, -0.999999, 0.999999))
    return {
        "effect_name": "rho",
        "effect": rho,
        "low": np.tanh(centre - half),
        "high": np.tanh(centre + half),
        "p": p,
        "n": n,
    }


def _classes(values: pd.Series, of: pd.Series, family: Labels) -> dict[str, Any]:
    counts = of.value_counts()
    large = counts.index[counts >= FEWEST]
    member = (of.to_numpy()[:, None] == large.to_numpy()).astype(float)
    chosen = member.any(axis=1)
    values, member = values[chosen], member[chosen]
    if len(large) < 2 or values.nunique() < 2:
        return {}
    h, p = stats.kruskal(*(values[inside] for inside in member.T.astype(bool)))
    n, k = len(values), len(large)
    more = design_effect(values.to_numpy(float), member, family[chosen])
    if more != 1:
        p = stats.chi2.sf(h / more, k - 1)
    low, high = (min(1.0, more * end) for end in eta_squared_interval(float(h) / more, k, n, CONFIDENCE))
    return {
        "effect_name": "eta2",
        "effect": eta_squared(float(h), k, n),
        "low": low,
        "high": high,
        "p": p,
        "n": n,
    }
